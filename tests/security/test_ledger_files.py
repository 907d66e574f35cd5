"""The ledger's file is replaced, removed, emptied or locked under a running broker: nothing is issued meanwhile."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from support.ledgers import denied, issued, open_ledger
from support.waiting import eventually
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.ledger import SqlLedger


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
async def ledger(file: Path) -> AsyncIterator[SqlLedger]:
    async with open_ledger(f"sqlite:///{file}", timeout_seconds=30.0) as ledger:
        for _ in range(20):
            await ledger.record(issued())
        yield ledger


async def cause_of_refusal(ledger: SqlLedger) -> str:
    """Records an event, which has to fail with health gone, and returns the cause."""
    with pytest.raises(BrokerError) as caught:
        await ledger.record(denied())
    assert caught.value.reason is Reason.LEDGER_UNAVAILABLE
    assert not ledger.healthy()
    return caught.value.metadata["cause"]


@pytest.fixture
async def another(tmp_path: Path) -> Path:
    """The file of another ledger, larger than the first."""
    async with open_ledger(f"sqlite:///{tmp_path}/other.db") as other:
        await asyncio.gather(*(other.record(issued()) for _ in range(100)))
    return tmp_path / "other.db"


def move_in(other: Path, file: Path) -> None:
    other.rename(file)


def move_in_without_wal(other: Path, file: Path) -> None:
    other.rename(file)
    for end in ("-wal", "-shm"):
        file.with_name(file.name + end).unlink(missing_ok=True)


def remove(_other: Path, file: Path) -> None:
    file.unlink()


def empty_anew(_other: Path, file: Path) -> None:
    file.unlink()
    file.touch()


def cut_short(_other: Path, file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(0)


def remove_wal(_other: Path, file: Path) -> None:
    file.with_name(file.name + "-wal").unlink()


@pytest.mark.parametrize("act", [move_in, move_in_without_wal, remove, empty_anew, cut_short, remove_wal])
async def test_ledger_that_is_swapped_stops_everything(
    ledger: SqlLedger, file: Path, another: Path, act: Callable[[Path, Path], None]
) -> None:
    """No decision goes into a file that is not the ledger, or into one that nobody can find any more."""
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    await ledger.record(denied())
    act(another, file)
    assert await cause_of_refusal(ledger) in ("replaced", "file-missing", "corrupt", "schema-missing", "io-error")
    await asyncio.sleep(0.5)  # Several attempts to recover later it is still so.
    assert await cause_of_refusal(ledger)
    connection.close()


async def test_right_file_put_back_is_taken_up(ledger: SqlLedger, file: Path) -> None:
    """A ledger that was moved away by mistake and moved back goes on without a restart, and its chain holds."""
    away = file.with_name("away")
    move_in(file, away)
    assert await cause_of_refusal(ledger)
    move_in(away, file)
    await eventually(ledger.healthy)
    await ledger.record(denied())
    found = await ledger.verify()
    assert found.intact
    assert found.records == 21


async def test_earlier_copy_put_back_is_refused(ledger: SqlLedger, file: Path, tmp_path: Path) -> None:
    """A backup restored under a running broker has lost decisions, so nothing is written behind it."""
    with sqlite3.connect(file) as connection, sqlite3.connect(tmp_path / "backup") as backup:
        connection.backup(backup)
    connection.close()
    backup.close()
    await ledger.record(issued())
    move_in_without_wal(tmp_path / "backup", file)
    assert await cause_of_refusal(ledger) == "replaced"


@pytest.fixture
async def impatient(ledger: SqlLedger, file: Path) -> AsyncIterator[SqlLedger]:
    """The same ledger as a process writes to it that waits for half a second."""
    await ledger.close()
    async with open_ledger(f"sqlite:///{file}", timeout_seconds=0.5) as another:
        yield another


async def test_locked_file_is_waited_for(ledger: SqlLedger, file: Path) -> None:
    """A program that holds the file's lock delays decisions."""
    with sqlite3.connect(file, isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(ledger.record(denied()))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        holder.execute("COMMIT")
        await waiting
    holder.close()
    assert (await ledger.verify()).records == 21


async def test_file_that_stays_locked_is_refused(impatient: SqlLedger, file: Path) -> None:
    """It is waited for up to the limit, and recovered from."""
    with sqlite3.connect(file, isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert await cause_of_refusal(impatient) == "locked"
        holder.execute("COMMIT")
    holder.close()
    await recorded_again(impatient)


async def recorded_again(ledger: SqlLedger) -> None:
    """Waits until an event is recorded: within half a second a busy machine may not have done it."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(BrokerError):
                await ledger.record(denied())
                break
            await eventually(ledger.healthy)
    assert (await ledger.verify()).intact


async def test_broker_that_hangs_in_its_turn_does_not_hang_the_others(impatient: SqlLedger) -> None:
    """Callers are refused in bounded time while another process keeps its turn, and served when it ends."""
    turn = impatient._database.open_lock()
    fcntl.flock(turn, fcntl.LOCK_EX)
    assert await asyncio.wait_for(cause_of_refusal(impatient), 60) == "timeout"
    os.close(turn)
    await recorded_again(impatient)


@pytest.mark.parametrize(("pragma", "cause"), [("query_only = ON", "read-only"), ("max_page_count = 1", "disk-full")])
async def test_file_that_takes_no_writes(ledger: SqlLedger, pragma: str, cause: str) -> None:
    """Read-only and full are told apart, refused, and left behind as soon as they are over."""
    assert ledger._writer is not None
    ledger._writer._appender._connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]
    results = await asyncio.gather(*(ledger.record(issued()) for _ in range(300)), return_exceptions=True)
    causes = {result.metadata["cause"] for result in results if isinstance(result, BrokerError)}
    assert causes == {cause}
    # The writer connects anew, without the pragma.
    await eventually(ledger.healthy)
    written = sum(result is None for result in results)
    await ledger.record(denied())
    found = await ledger.verify()
    assert found.intact
    assert found.records == 21 + written


async def test_copy_of_a_stopped_ledger_is_a_ledger(ledger: SqlLedger, file: Path, tmp_path: Path) -> None:
    """What is archived can be verified elsewhere."""
    await ledger.close()
    shutil.copy(file, tmp_path / "copy.db")
    async with open_ledger(f"sqlite:///{tmp_path}/copy.db") as copy:
        assert (await copy.verify()).records == 20
