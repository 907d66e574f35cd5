"""`make demo`'s program: the story of the main job, told in under 60 lines, and over without a trace."""

import subprocess
import sys
import time
from pathlib import Path

from support.children import start
from support.e2e import user_environment
from support.processes import descendants, mentioning


def test_demo_tells_the_main_job(tmp_path: Path) -> None:
    """Each step is told and went as it must; exit 0; no process and no file is left."""
    seen: set[int] = set()
    with (tmp_path / "out").open("wb") as out:
        process = start(
            [sys.executable, "-m", "valetkey_devstack"],
            env=user_environment({"TMPDIR": str(_empty(tmp_path / "tmp"))}),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                seen.update(descendants(process.pid))
                time.sleep(0.5)  # Each look goes through all processes there are.
        finally:
            process.kill()
            process.wait()
    text = (tmp_path / "out").read_text()
    assert process.returncode == 0, text
    assert len(text.splitlines()) < 90
    steps = (
        "1. A stack comes up",
        "$ valetkey service-connector register azure-blob-demo",
        "Successfully registered service connector",
        "$ valetkey grant create training",
        "$ valetkey service-connector list-resources",
        "az://demo-zenmlartifactstore",
        "$ valetkey token issue",
        "uploaded   models/v1.txt",
        "read back  models/v1.txt: the same bytes",
        "delete the blob          → 403 AuthorizationPermissionMismatch",
        "read another container   → 403 ",
        "meanwhile ops rotates the client secret",
        "0 failed, longest gap",
        "read with the old token  → 403 ",
        "nothing is left running",
        "docs/zenml.md",
        "In the browser: make dev CONSOLE=1",
    )
    position = 0
    for step in steps:
        assert step in text[position:], f"no {step!r} where it should be in\n{text}"
        position = text.index(step, position)
    assert len(seen) >= 3
    assert mentioning(tmp_path) == []
    assert list((tmp_path / "tmp").iterdir()) == []


def _empty(directory: Path) -> Path:
    directory.mkdir()
    return directory
