"""Whether a broker could open its ledger: told without making or changing anything."""

import os
import sqlite3
from pathlib import Path

import pytest

from support.ledgers import denied, open_ledger
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.ledger import check_ledger
from valetkey_broker.ledger.schema import VERSION_TABLE
from valetkey_broker.settings import LedgerSettings


def at(path: Path) -> LedgerSettings:
    return LedgerSettings(url=f"sqlite:///{path}")


def test_new_ledger_is_fine_and_not_made(tmp_path: Path) -> None:
    """A folder that may be written to is enough; the ledger is made at the start, not by looking."""
    assert check_ledger(at(tmp_path / "ledger.db")) == ""
    assert list(tmp_path.iterdir()) == []


async def test_ledger_in_use_is_fine(tmp_path: Path) -> None:
    """A running broker's ledger can be looked at, and is the same afterwards."""
    async with open_ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        await ledger.record(denied())
        assert check_ledger(at(tmp_path / "ledger.db")) == ""
        await ledger.record(denied())
        assert (await ledger.verify()).records == 2


def test_missing_folder(tmp_path: Path) -> None:
    """A folder that is not there, and a file in its place, are told with what to do."""
    (tmp_path / "file").write_text("x")
    for folder in ("nowhere", "file"):
        with pytest.raises(ConfigurationError, match=f"there is no directory {tmp_path}/{folder}; make it"):
            check_ledger(at(tmp_path / folder / "ledger.db"))


@pytest.mark.parametrize("place", ["folder", "file"])
def test_what_may_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """A folder or a file of another user is named. The kernel's answer is given: tests may run as root."""
    file = tmp_path / "ledger.db"
    sqlite3.connect(file).close()
    file.touch()
    closed = file if place == "file" else tmp_path
    monkeypatch.setattr(os, "access", lambda path, mode: not (Path(path) == closed and mode == os.W_OK))
    with pytest.raises(ConfigurationError, match=f"this user may not write to {closed};"):
        check_ledger(at(file))


def test_file_that_is_no_ledger(tmp_path: Path) -> None:
    """Something else in the ledger's place is told, and left alone."""
    file = tmp_path / "ledger.db"
    file.write_bytes(b"no database " * 100)
    with pytest.raises(ConfigurationError, match="is no database"):
        check_ledger(at(file))
    assert file.read_bytes() == b"no database " * 100


async def test_ledger_of_a_newer_broker(tmp_path: Path) -> None:
    """After a step back of versions the reason is told before the start."""
    async with open_ledger(f"sqlite:///{tmp_path}/ledger.db"):
        pass
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")  # noqa: S608 (our constant)
    connection.close()
    with pytest.raises(ConfigurationError, match="of a newer broker"):
        check_ledger(at(tmp_path / "ledger.db"))


def test_postgresql_that_is_away_is_a_warning() -> None:
    """A database that does not answer is waited for at a start, so it is no mistake in the settings."""
    said = check_ledger(LedgerSettings(url="postgresql://u:PLANTED@127.0.0.1:9/x", timeout_seconds=1.0))
    assert "does not answer; a broker waits for it" in said
    assert "PLANTED" not in said
