"""Ctrl-C in the first second, amid imports: quiet, whatever was about to start."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.broker_process import COMMAND, write_config
from support.children import start

_PATIENCE_SECONDS = 120.0


def _open_files(pid: int) -> str:
    maps = Path(f"/proc/{pid}/maps")
    return maps.read_text() if maps.exists() else ""


@pytest.mark.parametrize(
    "command",
    [(COMMAND, "serve"), (COMMAND, "bootstrap"), (sys.executable, "-m", "valetkey_devstack")],
    ids=["serve", "bootstrap", "demo"],
)
def test_ctrl_c_amid_imports(tmp_path: Path, command: tuple[str, ...]) -> None:
    """An early Ctrl-C ends with 130 and shows no traceback; nothing had begun."""
    config = ("--config", str(write_config(tmp_path))) if command[0] == COMMAND else ()
    process = start([*command, *config], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    # pydantic's core comes early among the imports, and well before anything is run.
    while "pydantic_core" not in _open_files(process.pid) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(2)
    out, err = process.communicate(timeout=_PATIENCE_SECONDS)
    assert (process.returncode, out, err) == (130, b"", b"")
