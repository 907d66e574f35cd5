"""PostgreSQL dies, freezes, turns read-only or is not there yet: nothing is issued meanwhile, nothing is lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from support.ledgers import denied, issued, open_ledger
from support.postgres import Postgres, running_postgres
from support.stopwatch import ends_within
from support.waiting import eventually
from valetkey_broker.errors import BrokerError, ConfigurationError, Reason
from valetkey_broker.ledger import SqlLedger
from valetkey_broker.model import EventFilter
from valetkey_broker.settings import LedgerSettings

# None passes but where the server is frozen.
TIMEOUT, SHORT_TIMEOUT = 20.0, 1.0


@pytest.fixture
async def postgres() -> AsyncIterator[Postgres]:
    async with running_postgres() as server:
        yield server


@pytest.fixture
async def ledger(postgres: Postgres) -> AsyncIterator[SqlLedger]:
    async with open_ledger(postgres.url(), timeout_seconds=TIMEOUT) as ledger:
        await ledger.record(issued())
        yield ledger


async def cause_of_refusal(ledger: SqlLedger) -> str:
    """Records an event, which has to fail with health gone, and returns the cause."""
    with pytest.raises(BrokerError) as caught:
        await ledger.record(denied())
    assert caught.value.reason is Reason.LEDGER_UNAVAILABLE
    assert not ledger.healthy()
    return caught.value.metadata["cause"]


async def test_killed_server_refuses_and_recovers(ledger: SqlLedger, postgres: Postgres) -> None:
    """A database that dies takes no answered record with it, and is found again once it is back."""
    postgres.kill()
    assert await cause_of_refusal(ledger) == "database-away"
    with pytest.raises(BrokerError):
        await ledger.events(EventFilter())
    await postgres.start()
    await eventually(ledger.healthy)
    await ledger.record(denied())
    found = await ledger.verify()
    assert (found.intact, found.records) == (True, 2)


async def test_server_killed_under_load_neither_forks_nor_repeats(ledger: SqlLedger, postgres: Postgres) -> None:
    """Whatever commits were under way when the server died, the chain goes on from the last one that happened."""
    told: list[str] = []
    stop = asyncio.Event()

    async def caller(number: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            try:
                await ledger.record(issued(purpose=f"{number}-{turn}"))
            except BrokerError:
                await asyncio.sleep(0.02)
            else:
                told.append(f"{number}-{turn}")

    callers = [asyncio.create_task(caller(number)) for number in range(16)]
    for _ in range(3):
        before = len(told)
        await eventually(lambda before=before: len(told) > before + 50)  # type: ignore[misc]
        postgres.kill()
        await eventually(lambda: not ledger.healthy())
        await postgres.start()
        await eventually(ledger.healthy)
    stop.set()
    await asyncio.gather(*callers)
    found = await ledger.verify()
    assert found.intact, found.problem
    stored = [each.event.purpose for each in await ledger.events(EventFilter(limit=100_000))]
    assert len(stored) == len(set(stored))
    assert set(told) <= set(stored)


@pytest.fixture
async def impatient(postgres: Postgres) -> AsyncIterator[SqlLedger]:
    async with open_ledger(postgres.url(), timeout_seconds=SHORT_TIMEOUT) as ledger:
        yield ledger


async def test_frozen_server_is_given_up_on_in_time(
    ledger: SqlLedger, impatient: SqlLedger, postgres: Postgres
) -> None:
    """A database that keeps its connections and answers nothing does not keep callers waiting."""
    postgres.freeze()
    try:
        with ends_within(30):
            assert await cause_of_refusal(impatient) == "timeout"
        # At once, from then on: these would each wait for as long otherwise.
        with ends_within():
            for _ in range(30):
                await cause_of_refusal(impatient)
    finally:
        postgres.thaw()
    await eventually(impatient.healthy)
    await ledger.record(denied())
    assert (await ledger.verify()).intact


async def test_closed_connection_is_made_anew(ledger: SqlLedger, postgres: Postgres) -> None:
    """An administrator who ends the connection, or a restart long over, costs nobody anything."""
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'valetkey-broker'"
    await ledger.record(denied())
    await postgres.run(ended)
    await ledger.record(denied())
    assert ledger.healthy()
    assert (await ledger.verify()).records == 3


async def test_read_only_server_refuses_and_recovers(ledger: SqlLedger, postgres: Postgres) -> None:
    """A server that became a standby is told apart from one that is away."""
    await postgres.run("ALTER DATABASE postgres SET default_transaction_read_only = on")
    await postgres.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'valetkey-broker'"
    )
    await cause_of_refusal(ledger)
    await eventually(
        lambda: not ledger.healthy() and ledger._writer is not None and ledger._writer._cause == "read-only"
    )
    assert await cause_of_refusal(ledger) == "read-only"
    await postgres.run("BEGIN READ WRITE; ALTER DATABASE postgres RESET ALL; COMMIT")
    await eventually(ledger.healthy)
    await ledger.record(denied())
    assert (await ledger.verify()).records == 2


async def test_record_waits_for_the_disk_whatever_the_server_is_set_to(ledger: SqlLedger, postgres: Postgres) -> None:
    """A server that would answer before its disk has the commit is told to wait for it."""
    await postgres.run("ALTER DATABASE postgres SET synchronous_commit = off")
    connection = ledger._database.writer()
    try:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
    finally:
        connection.close()


async def test_start_while_the_server_is_away(postgres: Postgres) -> None:
    """A broker that starts before its database serves as soon as it is there, and refuses until then."""
    await postgres.stop()
    async with open_ledger(postgres.url(), timeout_seconds=TIMEOUT) as ledger:
        assert await cause_of_refusal(ledger) == "database-away"
        await postgres.start()
        await eventually(ledger.healthy)
        await ledger.record(denied())
        assert (await ledger.verify()).records == 1


async def test_database_that_is_missing_is_named(postgres: Postgres) -> None:
    """A wrong name in the settings is an error to read, without the password, not an endless wait."""
    url = postgres.url("none").replace("tester@", "tester:PLANTED-password@")
    with pytest.raises(ConfigurationError, match="user, password or database") as caught:
        await SqlLedger(LedgerSettings(url=url)).open()
    assert "/none" in str(caught.value)
    assert "PLANTED" not in str(caught.value)


async def test_table_that_is_dropped_refuses(ledger: SqlLedger, postgres: Postgres) -> None:
    """A ledger that somebody threw away is not begun anew in silence."""
    await postgres.run("DROP TABLE ledger_events")
    assert await cause_of_refusal(ledger) == "schema-missing"
    await asyncio.sleep(0.3)
    assert await cause_of_refusal(ledger) == "schema-missing"
