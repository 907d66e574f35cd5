"""ZenML's environment: the release that we say, our client in it, and nothing kept outside of the test's folder."""

from pathlib import Path

import pytest

from support.zenml import BIN, ZenML

pytestmark = [pytest.mark.xdist_group("zenml"), pytest.mark.unmeasured]
LOCKED = Path(__file__).parents[2] / "requirements" / "zenml.in"


def test_zenml_starts_as_installed(tmp_path: Path) -> None:
    """All other tests fork a process that has it loaded; this one starts it as a user does."""
    assert BIN.exists(), "ZenML is missing: make .venv-zenml/.installed"
    zenml = ZenML(tmp_path, {})
    (pinned,) = [line for line in LOCKED.read_text().splitlines() if line.startswith("zenml")]
    ran = zenml.done("version", installed=True)
    assert f"version: {pinned.rpartition('==')[2]}" in ran.out + ran.err
    assert {path.name for path in tmp_path.iterdir()} <= {"zenml"}


def test_our_client_is_beside_it(tmp_path: Path) -> None:
    """It is installed without its dependencies, which are locked with ZenML's."""
    script = tmp_path / "look.py"
    script.write_text("import importlib.metadata, valetkey, zenml\nprint(importlib.metadata.version('valetkey'))\n")
    assert ZenML(tmp_path, {}).run(script).out.strip()
