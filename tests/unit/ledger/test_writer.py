"""How the group writer treats a database that fails, answers late, hangs, or lost what was written."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence

import psycopg
import pytest

from support.ledgers import denied
from support.waiting import eventually
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.ledger import write_batching
from valetkey_broker.ledger import writer as module
from valetkey_broker.ledger.chain import GENESIS, Row
from valetkey_broker.ledger.errors import LostHeadError
from valetkey_broker.ledger.write_batching import MAX_BATCH
from valetkey_broker.ledger.writer import GroupWriter
from valetkey_broker.model import Head


class FakeAppender:
    """A database in memory. `on_append` is called before rows are kept, `on_answer` after; either may raise or wait."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.batches: list[int] = []
        self.connects = 0
        self.interrupted = threading.Event()
        self.on_append: Callable[[], None] = lambda: None
        self.on_answer: Callable[[], None] = lambda: None
        self.on_probe: Callable[[], None] = lambda: None

    def connect(self) -> None:
        self.connects += 1

    def head(self, writer: str) -> tuple[int, str]:
        return (self.rows[-1][1], self.rows[-1][3]) if self.rows else (0, "")

    def append(self, after: Head, rows: Sequence[Row]) -> None:
        self.on_append()
        if self.head(after.writer) != ((after.sequence, after.hash) if after.sequence else (0, "")):
            raise LostHeadError
        self.rows += rows
        self.batches.append(len(rows))
        self.on_answer()

    def probe(self) -> None:
        self.on_probe()

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None:
        pass

    def assert_chain(self) -> None:
        previous = GENESIS
        for number, row in enumerate(self.rows, 1):
            assert (row[1], row[2]) == (number, previous)
            previous = row[3]


@pytest.fixture
def appender() -> FakeAppender:
    return FakeAppender()


@pytest.fixture
async def writer(appender: FakeAppender) -> AsyncIterator[GroupWriter]:
    writer = GroupWriter(appender, lambda: None, timeout=0.2)
    await asyncio.to_thread(writer.prepare)
    writer.start()
    yield writer
    await writer.close()


def failing(error: Exception, times: int = 1) -> Callable[[], None]:
    """Returns what raises `error` the first `times` times."""
    left = [error] * times

    def fail() -> None:
        if left:
            raise left.pop()

    return fail


async def refused(writer: GroupWriter) -> str:
    """Records an event, which has to fail, and returns the cause."""
    with pytest.raises(BrokerError) as caught:
        await writer.record(denied())
    assert caught.value.reason is Reason.LEDGER_UNAVAILABLE
    assert caught.value.retry_after
    return caught.value.metadata["cause"]


async def test_what_waits_is_written_at_once(writer: GroupWriter, appender: FakeAppender) -> None:
    """While one write is under way the others gather, and then share one transaction."""
    go = threading.Event()
    appender.on_append = lambda: go.wait(5) and None
    first = asyncio.create_task(writer.record(denied()))
    await eventually(lambda: bool(writer._current))
    rest = [asyncio.create_task(writer.record(denied())) for _ in range(100)]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(first, *rest)
    assert appender.batches == [1, 100]
    appender.assert_chain()


async def test_what_is_recorded_together_is_written_together(writer: GroupWriter, appender: FakeAppender) -> None:
    """However many they are: one transaction, and each counts as one that waits."""
    go = threading.Event()
    appender.on_append = lambda: go.wait(5) and None
    first = asyncio.create_task(writer.record(denied()))
    await eventually(lambda: bool(writer._current))
    many = asyncio.create_task(writer.record(*[denied()] * 1000))
    more = asyncio.create_task(writer.record(denied(), denied()))
    await eventually(lambda: writer.waiting == 1003)
    go.set()
    await asyncio.gather(first, many, more)
    assert appender.batches == [1, 1000, 2]
    assert writer.waiting == 0
    appender.assert_chain()


async def test_failure_reaches_all_who_wait_and_the_chain_stays(writer: GroupWriter, appender: FakeAppender) -> None:
    """A write that fails is refused to each caller, leaves no trace in the chain, and is recovered from unasked."""
    await writer.record(denied())
    appender.on_append = failing(psycopg.errors.DiskFull())
    appender.on_probe = failing(psycopg.errors.DiskFull(), times=2)
    results = await asyncio.gather(*(writer.record(denied()) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, BrokerError) for result in results)
    assert not writer.healthy()
    assert await refused(writer) == "disk-full"
    await eventually(writer.healthy)
    await writer.record(denied())
    assert len(appender.rows) == 2
    appender.assert_chain()


async def test_commit_whose_answer_was_lost_is_found(writer: GroupWriter, appender: FakeAppender) -> None:
    """A commit that happened though its answer did not come is neither repeated nor forked."""
    await writer.record(denied())
    appender.on_answer = failing(psycopg.OperationalError("server closed the connection"))
    await writer.record(denied())
    await writer.record(denied())
    assert len(appender.rows) == 3
    appender.assert_chain()


async def test_connection_that_died_meanwhile_is_nobodys_trouble(writer: GroupWriter, appender: FakeAppender) -> None:
    """The first caller after a restart of the database gets its token, and not an error about what is over."""
    await writer.record(denied())
    connects = appender.connects
    appender.on_append = failing(psycopg.errors.AdminShutdown())
    await writer.record(denied())
    assert writer.healthy()
    assert (len(appender.rows), appender.connects) == (2, connects + 1)
    appender.on_append = failing(psycopg.errors.AdminShutdown(), times=2)
    assert await refused(writer) == "database-away"
    await eventually(writer.healthy)
    appender.assert_chain()


async def test_commit_that_happens_late_is_found(writer: GroupWriter, appender: FakeAppender) -> None:
    """A commit that comes through only after the writer has looked for it in vain is taken up as well."""
    late: list[Row] = []

    def lose() -> None:
        if len(late) < 2:  # The new connection's answer, too.
            late.append(appender.rows.pop())
            raise psycopg.OperationalError

    def arrive() -> None:
        if late and not appender.rows:
            appender.rows.append(late[0])
            raise psycopg.errors.UniqueViolation

    appender.on_answer = lose
    await refused(writer)
    await eventually(writer.healthy)
    appender.on_append = arrive
    await refused(writer)
    await eventually(writer.healthy)
    await writer.record(denied())
    assert len(appender.rows) == 2
    appender.assert_chain()


async def test_ledger_that_lost_records_is_refused_until_they_are_back(
    writer: GroupWriter, appender: FakeAppender
) -> None:
    """Nothing is written behind a gap; the right database, put back, is taken up again."""
    await writer.record(denied())
    await writer.record(denied())
    kept = list(appender.rows)
    appender.rows.pop()
    assert await refused(writer) == "replaced"
    connects = appender.connects
    await eventually(lambda: appender.connects > connects + 1)
    assert not writer.healthy()
    appender.rows[:] = kept
    await eventually(writer.healthy)
    await writer.record(denied())
    appender.assert_chain()


async def test_too_many_waiting_are_refused_at_once(
    writer: GroupWriter, appender: FakeAppender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays bounded when the database cannot follow."""
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    go = threading.Event()
    appender.on_append = lambda: go.wait(5) and None
    waiting = [asyncio.create_task(writer.record(denied())) for _ in range(3)]
    await asyncio.sleep(0)
    assert await refused(writer) == "too-many-waiting"
    go.set()
    await asyncio.gather(*waiting)
    await writer.record(denied())


async def test_nobody_waits_for_a_write_that_hangs(writer: GroupWriter, appender: FakeAppender) -> None:
    """A database that answers nothing is given up on in bounded time, also by those behind it, and taken up later."""
    go = threading.Event()
    appender.on_append = lambda: go.wait(60) and None
    first = asyncio.create_task(writer.record(denied()))
    await eventually(lambda: bool(writer._current))
    second = asyncio.create_task(writer.record(denied()))
    results = await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 30)
    assert [getattr(result, "metadata", {}).get("cause") for result in results] == ["timeout", "timeout"]
    assert appender.interrupted.is_set()
    assert not writer.healthy()
    assert await refused(writer) == "timeout"
    go.set()
    await eventually(writer.healthy)
    await writer.record(denied())
    appender.assert_chain()


async def test_who_was_refused_while_the_way_back_hung_keeps_up_nobody(
    writer: GroupWriter, appender: FakeAppender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that the thread never came to, for it hung looking for the database, is done with all the same."""
    for name in ("_LINGER_EACH", "_LONGEST_LINGER", "_LONGEST_LINGER_OF_MANY"):
        monkeypatch.setattr(write_batching, name, 3600.0)
    go, looking, found = threading.Event(), threading.Event(), threading.Event()
    fail = failing(psycopg.errors.DiskFull())
    appender.on_append = lambda: (go.wait(60) and None, fail())[1]
    appender.on_probe = lambda: (looking.set(), found.wait(60) and None)[1]
    first = asyncio.create_task(writer.record(denied()))
    await eventually(lambda: bool(writer._current))
    behind = asyncio.create_task(writer.record(denied()))
    await eventually(lambda: writer.waiting == 2)
    go.set()
    await eventually(looking.is_set)
    writer._gathering._hand_over()  # Those who are expected stayed away.
    results = await asyncio.wait_for(asyncio.gather(first, behind, return_exceptions=True), 30)
    assert [getattr(result, "metadata", {}).get("cause") for result in results] == ["disk-full", "timeout"]
    found.set()
    await eventually(writer.healthy)
    await asyncio.wait_for(writer.record(denied()), 30)
    assert writer.waiting == 0
    appender.assert_chain()


async def test_a_write_that_ends_as_it_is_found_to_hang_refuses_nobody(
    writer: GroupWriter, appender: FakeAppender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else would ever find out that the ledger can be written."""
    go = threading.Event()

    class Log:
        def error(self, _event: str, **_more: object) -> None:
            go.set()
            while writer._busy_since:
                time.sleep(0.001)

    monkeypatch.setattr(writer, "_log", Log())
    appender.on_append = lambda: go.wait(60) and None
    await asyncio.wait_for(writer.record(denied()), 30)
    assert writer.healthy()
    await writer.record(denied())


async def test_caller_who_leaves_harms_nobody(writer: GroupWriter, appender: FakeAppender) -> None:
    """A cancelled call is recorded all the same, and the others get their answers."""
    go = threading.Event()
    appender.on_append = lambda: go.wait(5) and None
    tasks = [asyncio.create_task(writer.record(denied())) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(tasks[0], tasks[2])
    with contextlib.suppress(asyncio.CancelledError):
        await tasks[1]
    assert len(appender.rows) == 3
    assert writer._waiting == 0


async def test_closed_writer_refuses(writer: GroupWriter) -> None:
    """After the end nothing is accepted, and closing again does nothing."""
    await writer.close()
    await writer.close()
    assert await refused(writer) == "closed"
    assert not writer.healthy()


async def test_bug_in_a_driver_is_a_refusal_too(writer: GroupWriter, appender: FakeAppender) -> None:
    """Whatever a write raises, it was not written: nobody is told otherwise and the thread lives on."""
    for error in (ValueError("PLANTED"), sqlite3.ProgrammingError("PLANTED"), KeyError("PLANTED")):
        appender.on_append = failing(error)
        with pytest.raises(BrokerError) as caught:
            await writer.record(denied())
        assert caught.value.metadata["cause"] == "error"
        assert "PLANTED" not in str(caught.value)
        await eventually(writer.healthy)


async def test_start_without_a_database_waits_for_it(appender: FakeAppender) -> None:
    """A writer that begins while its database is away refuses, and prepares and connects as soon as it can."""
    prepared: list[int] = []
    away = failing(psycopg.OperationalError(), times=2)

    def prepare() -> None:
        away()
        prepared.append(1)

    writer = GroupWriter(appender, prepare, timeout=0.2)
    with pytest.raises(psycopg.OperationalError):
        await asyncio.to_thread(writer.prepare)
    writer.start("database-away")
    assert await refused(writer) == "database-away"
    await eventually(writer.healthy)
    await writer.record(denied())
    assert prepared == [1]
    await writer.close()


async def test_a_crowd_shares_transactions(writer: GroupWriter, appender: FakeAppender) -> None:
    """Many callers, each with one record after the other, are gathered even where the database answers at once."""

    async def caller() -> None:
        for _ in range(20):
            await writer.record(denied())

    await asyncio.gather(*(caller() for _ in range(50)))
    assert len(appender.rows) == 1000
    assert len(appender.batches) < 200
    appender.assert_chain()


async def test_as_many_as_are_written_at_once_share_a_transaction(writer: GroupWriter, appender: FakeAppender) -> None:
    """A thousand at once are a few transactions, each as large as one may be."""
    await asyncio.gather(*(writer.record(denied()) for _ in range(4 * MAX_BATCH + 2)))
    assert appender.batches == [MAX_BATCH] * 4 + [2]
    assert writer.waiting == 0
    appender.assert_chain()


async def _gather_one(writer: GroupWriter, monkeypatch: pytest.MonkeyPatch) -> "asyncio.Task[None]":
    """Has somebody wait for others who never come."""
    for name in ("_LINGER_EACH", "_LONGEST_LINGER", "_FORGOTTEN_SECONDS"):
        monkeypatch.setattr(write_batching, name, 3600.0)
    await asyncio.gather(*(writer.record(denied()) for _ in range(3)))
    gathered = asyncio.create_task(writer.record(denied()))
    await eventually(lambda: writer.waiting == 1)
    return gathered


async def test_the_end_waits_for_nobody(
    writer: GroupWriter, appender: FakeAppender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What gathers when the broker stops is written then, and its caller answered."""
    gathered = await _gather_one(writer, monkeypatch)
    await writer.close()
    await gathered
    assert appender.batches == [3, 1]
    assert await refused(writer) == "closed"


async def test_the_end_writes_all_that_waits(writer: GroupWriter, appender: FakeAppender) -> None:
    """Also where a write is under way, and more wait than are written at once."""
    go = threading.Event()
    appender.on_append = lambda: go.wait(5) and None
    waiting = [asyncio.create_task(writer.record(denied()))]
    await eventually(lambda: bool(writer._current))
    waiting += [asyncio.create_task(writer.record(denied())) for _ in range(MAX_BATCH + 5)]
    await eventually(lambda: writer.waiting == len(waiting))
    closing = asyncio.create_task(writer.close())
    await eventually(lambda: writer._closed)
    go.set()
    await asyncio.gather(closing, *waiting)
    assert appender.batches == [1, MAX_BATCH, 5]
    assert writer.waiting == 0
    appender.assert_chain()


async def test_the_end_refuses_what_can_not_be_written_any_more(writer: GroupWriter, appender: FakeAppender) -> None:
    """A database that fails while the broker stops: every caller is told so, and nobody waits on."""
    go = threading.Event()
    fail = failing(psycopg.errors.DiskFull(), times=9)
    appender.on_append = lambda: (go.wait(5) and None, fail())[1]
    waiting = [asyncio.create_task(writer.record(denied()))]
    await eventually(lambda: bool(writer._current))
    waiting += [asyncio.create_task(writer.record(denied())) for _ in range(2 * MAX_BATCH + 5)]
    await eventually(lambda: writer.waiting == len(waiting))
    closing = asyncio.create_task(writer.close())
    await eventually(lambda: writer._closed)
    go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    await closing
    assert {getattr(result, "metadata", {}).get("cause") for result in results} == {"disk-full"}
    assert not appender.rows
    assert writer.waiting == 0


async def test_the_end_gives_up_on_a_database_that_hangs(writer: GroupWriter, appender: FakeAppender) -> None:
    """Whoever waits is refused, and that is not written if the database ever comes back; the thread then ends."""
    go = threading.Event()
    appender.on_append = lambda: go.wait(60) and None
    waiting = [asyncio.create_task(writer.record(denied()))]
    await eventually(lambda: bool(writer._current))
    waiting += [asyncio.create_task(writer.record(denied())) for _ in range(MAX_BATCH + 5)]
    await eventually(lambda: writer.waiting == len(waiting))
    await writer.close()
    results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)
    assert all(isinstance(result, BrokerError) for result in results)
    assert appender.interrupted.is_set()
    go.set()
    await eventually(lambda: not writer._thread.is_alive())
    assert appender.batches == [1]


async def test_who_waits_behind_a_failure_is_refused_with_it(writer: GroupWriter, appender: FakeAppender) -> None:
    """What gathered during a write that failed is not held back until the database is there again."""
    go = threading.Event()
    fail = failing(psycopg.errors.DiskFull())
    appender.on_append = lambda: (go.wait(5) and None, fail())[1]
    appender.on_probe = failing(psycopg.errors.DiskFull(), times=10**6)
    first = asyncio.create_task(writer.record(denied()))
    await eventually(lambda: bool(writer._current))
    rest = [asyncio.create_task(writer.record(denied())) for _ in range(5)]
    await eventually(lambda: writer.waiting == 6)
    go.set()
    results = await asyncio.gather(first, *rest, return_exceptions=True)
    assert {getattr(result, "metadata", {}).get("cause") for result in results} == {"disk-full"}
    assert writer.waiting == 0
    appender.on_probe = lambda: None
    await eventually(writer.healthy)
    await writer.record(denied())
    appender.assert_chain()


async def test_who_leaves_while_others_gather_is_recorded_with_them(
    writer: GroupWriter, appender: FakeAppender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that is cancelled before its record is written holds up nobody, and counts as one that came."""
    gathered = await _gather_one(writer, monkeypatch)
    gathered.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gathered
    await asyncio.gather(writer.record(denied()), writer.record(denied()))
    assert appender.batches == [3, 3]
    assert writer.waiting == 0


async def test_how_long_a_failure_took_is_not_what_a_write_takes(writer: GroupWriter, appender: FakeAppender) -> None:
    """Others are let come by what a write takes, and one that failed tells nothing about that."""
    await writer.record(denied())
    took = writer._gathering._took
    assert took > 0
    appender.on_append = failing(psycopg.errors.DiskFull())
    assert await refused(writer) == "disk-full"
    assert writer._gathering._took == took
