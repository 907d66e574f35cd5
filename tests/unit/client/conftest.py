"""A fake broker, an empty home, and a way to run command lines in this process."""

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli_runner import Ran, Runner
from support.fake_broker import API_KEY, FakeBroker, running_fake_broker
from valetkey import Client
from valetkey.calls import retries
from valetkey.cli import global_options
from valetkey.cli.entry_point import run


@pytest.fixture(autouse=True)
def _empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the settings of whoever runs the tests out."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith("VALETKEY_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _short_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps tests of errors that are worth another try from trying for 10 s."""
    monkeypatch.setattr(retries, "WINDOW", 0.5)


@pytest.fixture(autouse=True)
def _clients_of_one_test() -> Iterator[None]:
    """Closes what a command keeps until its process ends: here the process is that of all tests."""
    yield
    while global_options.KEPT:
        global_options.KEPT.pop().close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[FakeBroker]:
    directory = tmp_path / "broker"
    directory.mkdir()
    with running_fake_broker(directory) as running:
        yield running


@pytest.fixture
def client(broker: FakeBroker) -> Iterator[Client]:
    with Client(broker.endpoint, api_key=API_KEY, ca_file=broker.ca_file) as connected:
        yield connected


@pytest.fixture
def bare(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs a command line without any settings."""

    def run_bare(*arguments: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run_bare


@pytest.fixture
def valetkey(bare: Runner, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs a command line that finds the fake broker through the environment."""
    monkeypatch.setenv("VALETKEY_ENDPOINT", broker.endpoint)
    monkeypatch.setenv("VALETKEY_CA_FILE", str(broker.ca_file))
    monkeypatch.setenv("VALETKEY_API_KEY", API_KEY)
    return bare
