"""Signals in the first second: Ctrl-C amid imports is quiet, whatever was about to start; a hangup ends no broker."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.broker_process import COMMAND, write_config
from support.children import start
from valetkey_broker.errors import EXIT_CONFIGURATION
from valetkey_broker.worker_supervisor import _Slot

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


@pytest.mark.parametrize("arguments", [["serve"], ["serve", "--workers=2"], ["worker"]], ids=" ".join)
def test_a_hangup_amid_the_start_ends_nothing(tmp_path: Path, arguments: list[str]) -> None:
    """A tool that rotated a file may say so at any moment: a broker that still reads its settings goes on with them."""
    config = tmp_path / "broker.toml"
    os.mkfifo(config)
    process = start([COMMAND, *arguments, "--config", str(config)], stderr=subprocess.PIPE)
    with config.open("w"):  # Once the broker reads.
        process.send_signal(signal.SIGHUP)
    _, said = process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == EXIT_CONFIGURATION, said
    assert b"vault" in said


def test_a_hangup_that_is_passed_on_to_a_worker_which_just_began_ends_it_not(tmp_path: Path) -> None:
    """Python itself takes a while to start, in which no program can say what is to become of a signal."""
    slot = _Slot(0)
    reading, writing = os.pipe()
    argv = [sys.executable, "-m", "valetkey_broker", "worker", "--config", str(tmp_path / "none")]
    slot.start(argv, reading, beside_others=False)
    assert slot.process is not None
    try:
        slot.process.send_signal(signal.SIGHUP)
        assert slot.process.wait(_PATIENCE_SECONDS) == EXIT_CONFIGURATION
    finally:
        slot.process.kill()
        slot.process.wait()
        slot.died()
        os.close(reading)
        os.close(writing)
    assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_standard_files_that_are_closed_lead_nowhere(tmp_path: Path, command: str) -> None:
    """What the broker opens first would have their numbers, and the first line of its log would end it."""
    config = tmp_path / "broker.toml"
    os.mkfifo(config)
    closed = ["sh", "-c", 'exec "$@" <&- >&-', "sh"]
    process = start([*closed, COMMAND, command, "--config", str(config)], stderr=subprocess.PIPE)
    with config.open("w"):  # Once the broker reads.
        files = [Path(f"/proc/{process.pid}/fd/{number}").readlink() for number in (0, 1)]
    _, said = process.communicate(timeout=_PATIENCE_SECONDS)
    assert (files, process.returncode) == ([Path(os.devnull)] * 2, EXIT_CONFIGURATION), said
