"""What every Ledger does: held against the fake, against SQLite and against PostgreSQL."""

import asyncio
import dataclasses
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import pytest_asyncio
from sqlalchemy import Connection, select, text, update

from support.fake_ledger import FakeLedger
from support.ledgers import denied, issued, new_name, open_ledger
from support.postgres import Postgres, running_postgres
from support.stopwatch import ends_within
from support.waiting import eventually
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.ledger import SqlLedger, chain_verification, check_ledger, reader
from valetkey_broker.ledger.appender import PostgresAppender
from valetkey_broker.ledger.canonical_rows import id_of, pages, whole_rows
from valetkey_broker.ledger.chain import canonical_form, extend, hash_of
from valetkey_broker.ledger.database import Database
from valetkey_broker.ledger.engines import table_prefix
from valetkey_broker.ledger.migrating import migrate_ledger
from valetkey_broker.ledger.prune import apply_cut, find_cuts
from valetkey_broker.ledger.schema import checkpoints, events
from valetkey_broker.model import Event, EventFilter, EventKind, Head, LeaseFilter
from valetkey_broker.ports import Ledger
from valetkey_broker.settings import LedgerSettings

pytestmark = pytest.mark.xdist_group("postgres-contract")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def postgres() -> AsyncIterator[Postgres]:
    async with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
async def sql_ledger(request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path) -> AsyncIterator[SqlLedger]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    if request.param == "postgres":
        name = new_name()
        await postgres.run(f"CREATE DATABASE {name}")
        url = postgres.url(name)
    async with open_ledger(url) as ledger:
        yield ledger


@pytest.fixture(params=["fake", "sqlite", "postgres"])
async def ledger(request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path) -> AsyncIterator[Ledger]:
    if request.param == "fake":
        fake = FakeLedger()
        await fake.open()
        yield fake
        return
    url = f"sqlite:///{tmp_path}/ledger.db"
    if request.param == "postgres":
        name = new_name()
        await postgres.run(f"CREATE DATABASE {name}")
        url = postgres.url(name)
    async with open_ledger(url) as real:
        yield real


async def all_events(ledger: Ledger) -> list[Event]:
    return [stored.event for stored in await ledger.events(EventFilter())]


async def test_event_reads_back_as_it_was(ledger: Ledger) -> None:
    """Every field of a decision is on record, in any script."""
    details = {"error": 'a "quoted" größer', "roles": "admin"}
    full = issued(purpose="Übung für 模型 🚀", object="grants/training", reason="NONE", count=7, details=details)
    await ledger.record(full)
    await ledger.record(Event(kind=EventKind.PRUNED, time=0.0))
    assert await all_events(ledger) == [full, Event(kind=EventKind.PRUNED, time=0.0)]


async def test_what_is_recorded_together_is_one_chain_in_order(ledger: Ledger) -> None:
    """Many records of one call are many, behind what was there and before what comes; none of them is lost."""
    await ledger.record(denied(purpose="first"))
    await ledger.record(*(denied(purpose=str(number)) for number in range(600)))
    await ledger.record(denied(purpose="last"))
    seen = [stored.event.purpose for stored in await ledger.events(EventFilter(limit=1000))]
    assert seen == ["first", *map(str, range(600)), "last"]
    found = await ledger.verify()
    assert (found.intact, found.records) == (True, 602)


async def test_of_many_recorded_together_none_stays_where_one_cannot_be_written(sql_ledger: SqlLedger) -> None:
    """A token whose record failed was not issued, and neither were those beside it: nothing of them is on record."""
    await sql_ledger.record(denied(purpose="first"))
    with sql_ledger._database.changing() as connection:
        prefix = table_prefix(connection)
        connection.execute(text(f"CREATE UNIQUE INDEX never_twice ON {prefix}ledger_events (purpose)"))
    twice = [*(denied(purpose=str(number)) for number in range(500)), denied(purpose="first")]
    with pytest.raises(BrokerError, match="ledger"):
        await sql_ledger.record(*twice)
    assert [event.purpose for event in await all_events(sql_ledger)] == ["first"]
    with sql_ledger._database.changing() as connection:
        connection.execute(text(f"DROP INDEX {prefix}never_twice"))
    await eventually(sql_ledger.healthy)
    await sql_ledger.record(*twice)
    found = await sql_ledger.verify()
    assert (found.intact, found.records) == (True, 502)


async def test_events_page_forwards(ledger: Ledger) -> None:
    """Who goes on after the last id sees each event once, in order."""
    events = [denied(purpose=str(number)) for number in range(7)]
    for event in events:
        await ledger.record(event)
    seen: list[Event] = []
    after = 0
    while page := await ledger.events(EventFilter(after_id=after, limit=3)):
        assert len(page) <= 3
        seen += [stored.event for stored in page]
        after = page[-1].id
    assert seen == events


async def test_newest_gives_the_last_ones_oldest_first(ledger: Ledger) -> None:
    """A tail begins with the end of the ledger, in the order in which it happened."""
    for number in range(5):
        await ledger.record(denied(purpose=str(number)))
    found = await ledger.events(EventFilter(newest=True, limit=2))
    assert [stored.event.purpose for stored in found] == ["3", "4"]


@pytest.mark.parametrize(
    "wanted",
    [
        EventFilter(kind=EventKind.ADMIN_CHANGE),
        EventFilter(principal="key:other"),
        EventFilter(connector="other"),
        EventFilter(request_id="the-request"),
        EventFilter(lease_id="the-lease"),
        EventFilter(since=1_790_000_001.0, until=1_790_000_003.0),
    ],
    ids=["kind", "principal", "connector", "request", "lease", "time"],
)
async def test_events_are_found_by_each_field(ledger: Ledger, wanted: EventFilter) -> None:
    """Each filter leaves the one event that has it, and nothing else."""
    one = Event(
        kind=EventKind.ADMIN_CHANGE,
        time=1_790_000_002.0,
        principal="key:other",
        connector="other",
        request_id="the-request",
        lease_id="the-lease",
    )
    for event in (issued(), one, issued(time=1_790_000_003.0), denied()):
        await ledger.record(event)
    assert [stored.event for stored in await ledger.events(wanted)] == [one]


def change(kind: EventKind, request_id: str, object_: str = "grants/training", **fields: Any) -> Event:
    """Returns a record of a change."""
    method = "/valetkey.v1.GrantService/UpdateGrant"
    return Event(kind=kind, time=1_790_000_000.0, request_id=request_id, method=method, object=object_, **fields)


BEGUN, MADE, FAILED = EventKind.CHANGE_BEGUN, EventKind.ADMIN_CHANGE, EventKind.CHANGE_FAILED


async def test_changes_without_outcome_are_found(ledger: Ledger) -> None:
    """A change that was begun and never ended is found among those that did; what looks like its outcome is none."""
    lost = change(BEGUN, "lost")
    for event in (
        change(BEGUN, "made"),
        lost,
        change(BEGUN, "failed"),
        change(MADE, "made"),
        change(FAILED, "failed", reason="CONFLICT"),
        change(MADE, "lost", "grants/other"),
        change(MADE, "another"),
        denied(request_id="lost"),
    ):
        await ledger.record(event)
    assert [stored.event for stored in await ledger.events(EventFilter(unfinished=True))] == [lost]
    assert [stored.event for stored in await ledger.events(EventFilter(unfinished=True, request_id="made"))] == []
    assert len(await ledger.events(EventFilter(kind=BEGUN))) == 3
    assert [stored.event for stored in await ledger.events(EventFilter(cut_off=True))] == [lost]
    await ledger.record(change(MADE, "lost", reason="VAULT_UNAVAILABLE"))
    assert [stored.event for stored in await ledger.events(EventFilter(unfinished=True))] == [lost]
    assert not await ledger.events(EventFilter(cut_off=True))
    await ledger.record(change(EventKind.CHANGE_RECONCILED, "lost", reason="MADE"))
    assert not await ledger.events(EventFilter(unfinished=True))


@pytest.mark.parametrize(
    ("kinds", "unfinished"),
    [
        ([BEGUN, MADE, BEGUN, MADE], 0),
        ([BEGUN, MADE, BEGUN], 1),
        ([BEGUN, BEGUN, FAILED], 1),
        ([BEGUN, BEGUN, MADE, MADE], 1),
        ([BEGUN, BEGUN], 2),
    ],
    ids=["one after the other", "the second is lost", "the first is lost", "both at once", "both are lost"],
)
async def test_a_request_id_used_again_hides_no_change(ledger: Ledger, kinds: list[EventKind], unfinished: int) -> None:
    """A caller that tries again with the same request id does not make a lost change pass for a finished one.

    Two at once, of one id and object, cannot be told apart: then one too many is found, never one too few.
    """
    for kind in kinds:
        await ledger.record(change(kind, "again"))
    assert len(await ledger.events(EventFilter(unfinished=True))) == unfinished


async def test_many_changes_under_one_request_id_are_looked_through_once(ledger: Ledger) -> None:
    """Callers choose their request ids; one that uses the same for all hides no lost change behind a slow question."""
    kinds = [BEGUN, FAILED] * 4000
    records = [change(kind, "same", f"connectors/c{number // 2}") for number, kind in enumerate(kinds)]
    await asyncio.gather(*(ledger.record(event) for event in records), ledger.record(change(BEGUN, "same", "grants/x")))
    with ends_within(15):
        assert [stored.event.object for stored in await ledger.events(EventFilter(unfinished=True))] == ["grants/x"]


async def test_outcomes_of_another_writer_count_for_nothing(postgres: Postgres) -> None:
    """A change ends in the chain in which it began: what another broker did under the same id is another change."""
    name = new_name()
    await postgres.run(f"CREATE DATABASE {name}")
    async with open_ledger(postgres.url(name)) as one, open_ledger(postgres.url(name)) as other:
        await one.record(change(BEGUN, "again"))
        await other.record(change(BEGUN, "again"))
        await other.record(change(MADE, "again"))
        (found,) = await other.events(EventFilter(unfinished=True))
        assert found.writer == one.writer_id


async def test_a_change_that_another_writer_brought_to_its_end_is_finished(postgres: Postgres) -> None:
    """The outcome of a change whose broker was killed stands in another chain; a change begun after it is another."""
    name = new_name()
    await postgres.run(f"CREATE DATABASE {name}")
    async with open_ledger(postgres.url(name)) as one, open_ledger(postgres.url(name)) as other:
        await one.record(change(BEGUN, "killed"))
        await one.record(change(BEGUN, "killed", "grants/another"))
        await other.record(change(EventKind.CHANGE_RECONCILED, "killed", reason="NOT_MADE"))
        (left,) = await other.events(EventFilter(unfinished=True))
        assert left.event.object == "grants/another"
        await one.record(change(BEGUN, "killed"))
        assert len(await other.events(EventFilter(unfinished=True))) == 2


async def test_leases_are_issued_tokens_newest_first(ledger: Ledger) -> None:
    """The list of leases holds tokens only, pages downwards, and can leave out those that have ended."""
    for number in range(4):
        await ledger.record(issued(lease_id=f"lease-{number}", expires=1000 + number))
        await ledger.record(denied())
    await ledger.record(Event(kind=EventKind.ADMIN_CHANGE, time=1.0, lease_id="lease-0"))
    first = await ledger.leases(LeaseFilter(limit=2))
    assert [stored.event.lease_id for stored in first] == ["lease-3", "lease-2"]
    rest = await ledger.leases(LeaseFilter(before_id=first[-1].id))
    assert [stored.event.lease_id for stored in rest] == ["lease-1", "lease-0"]
    active = await ledger.leases(LeaseFilter(active_at=1001.5))
    assert [stored.event.lease_id for stored in active] == ["lease-3", "lease-2"]


async def test_a_token_is_found_by_the_hash_of_its_signature(ledger: Ledger) -> None:
    """A token that turns up is matched with its record by hash and end, both."""
    for number in range(2):
        await ledger.record(issued(lease_id=f"lease-{number}", expires=1000 + number, signature_sha256="ab" * 32))
    (found,) = await ledger.leases(LeaseFilter(signature_sha256="ab" * 32, expires=1001))
    assert found.event.lease_id == "lease-1"
    assert not await ledger.leases(LeaseFilter(signature_sha256="cd" * 32, expires=1001))


async def test_leases_are_found_by_principal_connector_and_place(ledger: Ledger) -> None:
    """A lease is found by who has it and by the container it opens, in both accounts that have one of that name."""
    await ledger.record(issued(lease_id="a"))
    await ledger.record(issued(lease_id="b", resource="https://otheraccount.blob.core.windows.net/models"))
    other = {"principal": "key:other", "connector": "other", "grant": "other"}
    await ledger.record(issued(lease_id="c", resource="https://x.blob.y/c", **other))

    async def found(**wanted: str) -> list[str]:
        return [stored.event.lease_id for stored in await ledger.leases(LeaseFilter(**wanted))]  # type: ignore[arg-type]

    assert await found(container="models") == ["b", "a"]
    assert await found(container="models", account="demoaccount") == ["a"]
    assert await found(principal="key:other") == ["c"]
    assert await found(connector="other") == await found(grant="other") == ["c"]
    assert await found(container="model") == []

    async def one_of_each(**wanted: Any) -> list[str]:
        found = await ledger.leases(LeaseFilter(one_of_each=True, **wanted))
        return [stored.event.lease_id for stored in found]

    await ledger.record(issued(lease_id="d"), issued(lease_id="e", credential_version=4))
    assert await one_of_each() == ["e", "d", "c", "b"]
    assert await one_of_each(principal="key:trainer", limit=2) == ["e", "d"]
    assert await one_of_each(account="demoaccount") == ["e", "d"]


async def test_leases_are_found_by_when_they_were_issued(ledger: Ledger) -> None:
    """What was issued before a moment, of those that live: whoever looks for old ones goes through no others."""
    for number in range(3):
        await ledger.record(issued(lease_id=f"lease-{number}", time=100.5 + number, expires=200 + number))
    found = await ledger.leases(LeaseFilter(active_at=200.0, issued_before=102.5))
    assert [stored.event.lease_id for stored in found] == ["lease-1"]


async def test_tokens_and_refusals_are_found_by_what_they_are_for(ledger: Ledger) -> None:
    """Who had a container and who was refused it, however they wrote it; what only has its name in it is not found."""
    url = "https://demoaccount.blob.core.windows.net"
    for event in (
        issued(purpose="token", resource=f"{url}/models/v_1/a"),
        issued(purpose="another's", resource="https://otheraccount.blob.core.windows.net/models"),
        issued(purpose="no", resource=f"{url}/models-evil"),
        *(
            denied(purpose=purpose, resource=resource)
            for purpose, resource in (
                ("short", "models"),
                ("many", "az://models/v_1/a and 3 more"),
                ("full", f"{url}/models/v_1/"),
                ("abfss", "abfss://models@otheraccount.dfs.core.windows.net/v_1"),
                ("no", "az://other/models/x"),
                ("no", "models-evil"),
                ("no", "models?"),
                ("no", ""),
            )
        ),
        Event(kind=MADE, time=1.0, purpose="no", object="grants/models"),
    ):
        await ledger.record(event)

    async def found(**wanted: Any) -> list[str]:
        return [each.event.purpose for each in await ledger.events(EventFilter(container="models", **wanted))]

    assert await found() == ["token", "another's", "short", "many", "full", "abfss"]
    assert await found(account="demoaccount") == ["token", "short", "many", "full"]
    assert await found(path="v_1/") == ["token", "many", "full"]
    assert await found(path="v_1/a") == ["token", "many"]
    assert await found(path="v") == []
    assert await found(kind=EventKind.DENIED) == ["short", "many", "full", "abfss"]
    assert await found(kind=EventKind.TOKEN_ISSUED, principal="key:nobody") == await found(kind=MADE) == []
    assert await found(newest=True, limit=2) == ["full", "abfss"]
    assert await found(limit=3) == ["token", "another's", "short"]


async def test_leases_are_found_by_what_is_inside_a_container(ledger: Ledger) -> None:
    """A blob is found by its own path and by the directories it is in, character by character; `_` is no wildcard."""
    url = "https://demoaccount.blob.core.windows.net/models"
    for path in ("/v_1/a", "/v_1/b", "/v_1/", "/vx1/a", "/v_1", ""):
        await ledger.record(issued(lease_id=path or "container", resource=f"{url}{path}"))

    async def found(path: str) -> list[str]:
        return [each.event.lease_id for each in await ledger.leases(LeaseFilter(container="models", path=path))]

    assert await found("v_1/a") == ["/v_1/a"]
    assert await found("v_1") == ["/v_1"]
    assert await found("v_1/") == ["/v_1/", "/v_1/b", "/v_1/a"]
    assert await found("v_") == await found("%") == []
    assert len(await found("")) == 6


async def test_whole_ledger_verifies_and_shows_its_head(ledger: Ledger) -> None:
    """The chain of an untouched ledger holds, and its head can be noted outside and held against it later."""
    assert (await ledger.verify()).intact
    await ledger.record(issued())
    noted = (await ledger.verify()).heads
    await ledger.record(denied())
    found = await ledger.verify(noted)
    assert (found.intact, found.records, found.problem, found.broken_id) == (True, 2, "", 0)
    (head,) = found.heads
    last = (await ledger.events(EventFilter()))[-1]
    assert (head.writer, head.sequence, head.hash) == (last.writer, 2, last.hash)


async def test_head_that_is_not_in_the_ledger_breaks_it(ledger: Ledger) -> None:
    """An anchor that cannot be found is a cut-off end, and is said to be one."""
    await ledger.record(issued())
    (head,) = (await ledger.verify()).heads
    for anchor in (
        dataclasses.replace(head, sequence=2),
        dataclasses.replace(head, hash="00" * 32),
        Head("11111111-1111-4111-8111-111111111111", 1, "00" * 32),
    ):
        found = await ledger.verify([anchor])
        assert not found.intact
        assert anchor.writer in found.problem


async def test_many_at_once_are_all_there(ledger: Ledger) -> None:
    """Records that wait together are written together, each once, in a chain without gaps."""
    async with asyncio.TaskGroup() as group:
        for number in range(600):
            group.create_task(ledger.record(denied(purpose=str(number))))
    stored = await ledger.events(EventFilter(limit=1000))
    assert sorted(int(each.event.purpose) for each in stored) == list(range(600))
    assert [each.sequence for each in stored] == list(range(1, 601))
    assert (await ledger.verify()).intact


async def test_what_callers_send_cannot_stop_the_ledger(sql_ledger: SqlLedger) -> None:
    """Text a database or a terminal cannot take is escaped, endless text is cut, and neighbours are recorded too."""
    events = [
        denied(resource="a\x00b\nc\x1b[31m\u2028"),
        denied(principal="\ud800"),
        denied(purpose="x" * 100_000, ttl=10**30, count=10**20),
        denied(resource="'; DROP TABLE ledger_events; --"),
    ]
    await asyncio.gather(*(sql_ledger.record(event) for event in events))
    found = await all_events(sql_ledger)
    assert found[0].resource == "a\\x00b\\nc\\x1b[31m\\u2028"
    assert found[1].principal == "\\ud800"
    assert len(found[2].purpose) == 1500
    assert found[2].ttl == found[2].count == 2**63 - 1
    assert found[3].resource == events[3].resource
    assert (await sql_ledger.verify()).intact


async def test_leases_of_an_emulator_are_found_by_container(sql_ledger: SqlLedger) -> None:
    """With the account in the path, as Azurite has it, the container is still the container."""
    await sql_ledger.record(issued(resource="https://127.0.0.1:10000/demoaccount/models"))
    assert len(await sql_ledger.leases(LeaseFilter(container="models", account="demoaccount"))) == 1
    assert not await sql_ledger.leases(LeaseFilter(container="demoaccount"))


async def test_every_start_begins_a_chain(sql_ledger: SqlLedger) -> None:
    """A second writer on the same database has a chain of its own, and both hold."""
    second = SqlLedger(sql_ledger._settings)
    await second.open()
    try:
        await asyncio.gather(*(each.record(denied()) for each in (sql_ledger, second) for _ in range(50)))
        found = await second.verify()
        assert found.intact
        assert {head.writer for head in found.heads} == {sql_ledger.writer_id, second.writer_id}
        assert {head.sequence for head in found.heads} == {50}
    finally:
        await second.close()


async def test_closing_writes_what_waits(sql_ledger: SqlLedger) -> None:
    """A shutdown loses nothing that was being recorded, and records nothing afterwards."""
    waiting = [asyncio.create_task(sql_ledger.record(denied())) for _ in range(100)]
    await asyncio.sleep(0)
    await sql_ledger.close()
    await asyncio.gather(*waiting)
    async with open_ledger(sql_ledger._settings.database_url().reveal()) as again:
        assert (await again.verify()).records == 100


async def test_altered_table_of_postgresql_is_named(postgres: Postgres) -> None:
    """Another type's values can be laid out as those of the right one, and a list shows them as something else."""
    name = new_name()
    await postgres.run(f"CREATE DATABASE {name}")
    async with open_ledger(postgres.url(name)) as ledger:
        await ledger.record(issued())
        with psycopg.connect(postgres.url(name), autocommit=True) as owner:
            for change, undo in (
                ("ALTER TABLE ledger_events ALTER ttl TYPE numeric", "ALTER TABLE ledger_events ALTER ttl TYPE bigint"),
                (
                    "ALTER TABLE ledger_events ALTER purpose TYPE text",
                    "ALTER TABLE ledger_events ALTER purpose TYPE varchar",
                ),
                (
                    "ALTER TABLE ledger_events DROP CONSTRAINT ledger_events_pkey",
                    "ALTER TABLE ledger_events ADD PRIMARY KEY (id)",
                ),
                ("CREATE TABLE heir () INHERITS (ledger_events)", "DROP TABLE heir"),
                (
                    "CREATE RULE none AS ON UPDATE TO ledger_events DO INSTEAD NOTHING",
                    "DROP RULE none ON ledger_events",
                ),
            ):
                owner.execute(change)
                found = await ledger.verify()
                assert not found.intact, change
                assert "no table that holds records" in found.problem
                owner.execute(undo)
                assert (await ledger.verify()).intact


async def chain_of(ledger: SqlLedger, times: Sequence[float]) -> None:
    """Records one event for each time."""
    for at in times:
        await ledger.record(issued(time=at, lease_id=f"at-{at:g}"))


async def test_pruning_removes_what_is_old_and_the_rest_verifies(sql_ledger: SqlLedger) -> None:
    """Retention takes the beginnings of chains, says so in the ledger, and a later check still proves the rest."""
    await chain_of(sql_ledger, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert await sql_ledger.prune(3.0) == 2
    assert [event.time for event in await all_events(sql_ledger)][:3] == [3.0, 4.0, 5.0]
    (pruned,) = [event for event in await all_events(sql_ledger) if event.kind is EventKind.PRUNED]
    assert pruned.object == f"chains/{sql_ledger.writer_id}"
    assert pruned.count == 2
    found = await sql_ledger.verify()
    assert found.intact
    assert found.records == 4
    await sql_ledger.record(denied())
    assert (await sql_ledger.verify(found.heads)).intact
    assert await sql_ledger.prune(5.0) == 2
    assert (await sql_ledger.verify(found.heads)).intact


async def test_pruning_again_does_nothing(sql_ledger: SqlLedger) -> None:
    """Every worker may prune: what is done is not done twice, nor written down twice."""
    await chain_of(sql_ledger, [1.0, 2.0, time.time()])
    assert await sql_ledger.prune(2.0) == 1
    before = await all_events(sql_ledger)
    assert await sql_ledger.prune(2.0) == 0
    assert await all_events(sql_ledger) == before


async def test_pruning_removes_no_record_from_the_middle(sql_ledger: SqlLedger) -> None:
    """An old time behind a newer one, from a clock that went back, stays: a chain loses its beginning only."""
    await chain_of(sql_ledger, [1.0, 9.0, 2.0, 10.0])
    assert await sql_ledger.prune(5.0) == 1
    assert [event.time for event in await all_events(sql_ledger)][:3] == [9.0, 2.0, 10.0]
    assert await sql_ledger.prune(5.0) == 0
    assert (await sql_ledger.verify()).intact


async def test_large_chains_go_in_steps(sql_ledger: SqlLedger) -> None:
    """Thousands of records go without a long transaction, and issuing goes on meanwhile."""
    old = [issued(time=1.0) for _ in range(2500)]
    await asyncio.gather(*(sql_ledger.record(event) for event in old))
    pruning = asyncio.create_task(sql_ledger.prune(2.0))
    while not pruning.done():
        await sql_ledger.record(denied(time=3.0))
    assert await pruning == 2500
    assert (await sql_ledger.verify()).intact


async def test_idle_writer_goes_on_after_its_whole_chain_was_pruned(sql_ledger: SqlLedger) -> None:
    """A broker that decided nothing for longer than the retention is not stopped by the pruning of another."""
    await chain_of(sql_ledger, [1.0, 2.0])
    async with open_ledger(sql_ledger._settings.database_url().reveal()) as other:
        assert await other.prune(5.0) == 2
        await sql_ledger.record(denied(time=6.0))
        assert (await other.verify()).intact
        assert sql_ledger.healthy()


async def test_forms_that_the_database_lays_out_are_exact(sql_ledger: SqlLedger) -> None:
    """A check takes SQLite's word for a record's canonical form only where it is Python's to the byte."""
    purposes = [
        "plain",
        "",
        'a "quoted" one',
        "back\\slash",
        "Übung 模型",
        "tab\tand\nline",
        "\x1f",
        "\x7f",
        "</",
        "%s",
    ]
    for purpose in purposes:
        await sql_ledger.record(issued(purpose=purpose), issued(purpose=purpose, details={"note": f"{purpose} x"}))
    database = sql_ledger._database
    with database.reading() as connection:
        connection.execute(text("SELECT 1")).all()
        (page,) = pages(database, connection)
        rows = whole_rows(connection, [id_of(place) for place in page])
    lines = [place for place in page if isinstance(place, bytes)]
    for line in lines:
        row = rows[id_of(line)]
        form, *beside = line.rsplit(b",", 4)
        assert form + b"]" == canonical_form(row).encode()
        assert beside == [f'"{row[2]}"'.encode(), f'"{row[3]}"'.encode(), b"2", b"%d]" % id_of(line)]
    assert all(hash_of(row, row[2]) == row[3] for row in rows.values())
    assert len(page) == len(rows) == 2 * len(purposes)
    # SQLite does not escape the one in another script. PostgreSQL escapes nothing as JSON does, neither unprintable
    # characters, which were escaped with a backslash before they were written, nor the quotes of details.
    assert len(lines) == (2 * len(purposes) - 2 if database.is_sqlite else len(["plain", "", "</", "%s"]))
    assert (await sql_ledger.verify()).intact


async def test_forged_record_in_the_guise_of_an_honest_ones_form_is_named(sql_ledger: SqlLedger) -> None:
    """A value with the quotes or escapes of another's canonical form in it reads as that form, if nobody looks."""
    quoted, escaped, plain = 'run","7', "back\\slash", "run 7"
    for purpose in (quoted, escaped, plain):
        await sql_ledger.record(issued(purpose=purpose))
    for number, values in (
        (1, {"purpose": 'run\\","7'}),
        (2, {"purpose": "back\\\\slash"}),
        (3, {"purpose": 'run 7","1', "account": ""}),
    ):
        with sql_ledger._database.changing() as connection:
            before = connection.execute(select(events).where(events.c.id == number)).one()._mapping
            connection.execute(update(events).where(events.c.id == number).values(values))
        found = await sql_ledger.verify()
        assert (found.intact, found.broken_id, "it was changed" in found.problem) == (False, number, True), found
        with sql_ledger._database.changing() as connection:
            connection.execute(update(events).where(events.c.id == number).values(dict(before)))
    assert (await sql_ledger.verify()).intact


@pytest.mark.parametrize("many", [False, True])
async def test_leases_that_live_are_found_among_those_that_ended(
    sql_ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    """An old lease with a long life is not lost, however the database is kept from looking at all that ended."""
    if many:
        monkeypatch.setattr(reader, "_FEW_LIVING", 2)
    lives = [900, 50, 20, 600, 10, 800]
    for number, expires in enumerate(lives):
        await sql_ledger.record(issued(expires=expires, purpose=str(number), principal=f"key:{number % 2}"))
    for principal, expected in (("", ["5", "3", "0"]), ("key:1", ["5", "3"]), ("key:0", ["0"]), ("key:2", [])):
        found = await sql_ledger.leases(LeaseFilter(active_at=100.0, principal=principal))
        assert [stored.event.purpose for stored in found] == expected
    assert not await sql_ledger.leases(LeaseFilter(active_at=900.0))
    # Those that ended are no longer the newest of theirs.
    found = await sql_ledger.leases(LeaseFilter(active_at=100.0, one_of_each=True))
    assert [stored.event.purpose for stored in found] == ["5"]
    found = await sql_ledger.leases(LeaseFilter(active_at=700.0, one_of_each=True, principal="key:0"))
    assert [stored.event.purpose for stored in found] == ["0"]


async def test_interrupted_pruning_is_no_break(sql_ledger: SqlLedger) -> None:
    """A broker that dies between saying and doing leaves a ledger that verifies, and the next pruning does the rest."""
    await chain_of(sql_ledger, [1.0] * 3 + [9.0])
    (cut,) = find_cuts(sql_ledger._database, 5.0, 9.0)
    await sql_ledger.record(cut.event(9.0))
    assert (await sql_ledger.verify()).intact
    part = dataclasses.replace(cut, upto=Head(cut.upto.writer, 2, "unused"))
    apply_cut(sql_ledger._database, part, 9.0)
    found = await sql_ledger.verify()
    assert found.intact, found.problem
    assert await sql_ledger.prune(5.0) == 1
    assert (await sql_ledger.verify()).intact


async def test_pruned_away_is_told_from_cut_off(sql_ledger: SqlLedger) -> None:
    """A head noted before it was pruned is no alarm; a checkpoint with another hash is one."""
    await chain_of(sql_ledger, [1.0, 2.0])
    noted = (await sql_ledger.verify()).heads
    await chain_of(sql_ledger, [3.0, 9.0])
    await sql_ledger.prune(2.5)
    assert (await sql_ledger.verify(noted)).intact
    forged = dataclasses.replace(noted[0], hash="00" * 32)
    assert not (await sql_ledger.verify([forged])).intact
    await sql_ledger.prune(5.0)
    assert (await sql_ledger.verify(noted)).intact


async def test_checkpoints_are_vouched_for_as_long_as_they_are_needed(sql_ledger: SqlLedger) -> None:
    """The event that says what was pruned may be pruned itself, years later, and the chains still verify."""
    day = 86400.0
    now = [0.0]
    sql_ledger._clock = lambda: now[0]
    async with open_ledger(sql_ledger._settings.database_url().reveal()) as idle:
        await chain_of(idle, [0.5 * day, 50 * day])
        for today in range(10, 140, 3):
            now[0] = today * day
            await sql_ledger.record(denied(time=now[0]))
            await sql_ledger.prune(now[0] - 40 * day)
            found = await sql_ledger.verify()
            assert found.intact, (today, found.problem)
    with sql_ledger._database.reading() as connection:
        left = set(connection.execute(select(checkpoints.c.writer)).scalars())
    assert left == {sql_ledger.writer_id}


async def test_one_check_at_a_time_holds_up_no_list_and_ends_with_its_caller(
    sql_ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revocation looks into the ledger, too: it does not wait behind checks, however many somebody asks for."""
    await sql_ledger.record(denied(purpose="first"))
    begun = threading.Event()

    def for_a_minute(*_: object) -> Iterator[list[bytes]]:
        for _ in range(60_000):
            begun.set()
            yield []

    def within_one_statement(_: Database, connection: Connection) -> str:
        begun.set()
        counting = (
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 1000000000) SELECT max(n) FROM c"
        )
        return str(connection.execute(text(counting)).scalar())

    with monkeypatch.context() as patched:
        if sql_ledger._database.is_sqlite:
            patched.setattr(chain_verification, "index_errors", within_one_statement)
        else:
            patched.setattr(chain_verification, "pages", for_a_minute)
        checking = asyncio.create_task(sql_ledger.verify())
        await eventually(begun.is_set)
        with pytest.raises(BrokerError, match=r"running already, for \d+ s now") as caught:
            await sql_ledger.verify()
        assert (caught.value.reason, caught.value.retry_after) == (Reason.RATE_LIMITED, 5.0)
        lists = await asyncio.gather(*(all_events(sql_ledger) for _ in range(8)))
        assert [[event.purpose for event in each] for each in lists] == [["first"]] * 8
        assert not checking.done()
        checking.cancel()
    thread = sql_ledger._checker._future
    assert thread is not None
    await eventually(thread.done, 20.0)
    assert checking.cancelled()
    assert (await sql_ledger.verify()).intact


async def test_reader_waits_for_transactions_with_smaller_ids(postgres: Postgres) -> None:
    """On PostgreSQL ids commit out of order: a reader who goes on after the last id must not skip a slow writer's.

    Also not where the writer's login has no rights of its own, and is gone by then.
    """
    name, login, role = new_name(), new_name(), new_name()
    await postgres.run(f"CREATE DATABASE {name}")
    await postgres.run(f"CREATE ROLE {role}; CREATE ROLE {login} LOGIN NOINHERIT IN ROLE {role}")
    url = postgres.url(name)
    migrate_ledger(LedgerSettings(url=url), role)
    by_role = f"{url.replace('tester@', f'{login}@')}&options={quote(f'-crole={role}')}"
    async with open_ledger(by_role, timeout_seconds=60.0) as slow, open_ledger(url) as fast:
        await slow.record(denied(purpose="first"))
        assert slow._writer is not None
        hand: Any = slow._database.writer()
        hand.execute("BEGIN")
        appender = PostgresAppender(slow._database)
        appender._connection = hand
        appender.append(slow._writer._head, extend(slow._writer._head, [denied(purpose="slow")])[0])
        await fast.record(denied(purpose="fast"))
        fast._database.timeout = 60.0
        readings = [asyncio.create_task(fast.events(EventFilter()))]
        await postgres.run(f"DROP ROLE {login}")
        readings.append(asyncio.create_task(fast.events(EventFilter())))
        await asyncio.sleep(0.3)
        assert not any(reading.done() for reading in readings)
        hand.execute("COMMIT")
        for reading in readings:
            assert [stored.event.purpose for stored in await reading] == ["first", "slow", "fast"]
        hand.execute("SET idle_in_transaction_session_timeout = 0")
        hand.execute("BEGIN")
        hand.execute(f"LOCK TABLE {slow._database.writers_prefix}ledger_events IN ROW EXCLUSIVE MODE")
        fast._database.timeout = 0.2
        with pytest.raises(BrokerError, match="takes too long"):
            await fast.events(EventFilter())
        hand.close()


async def test_login_without_rights_stops_no_broker_by_a_lock(postgres: Postgres) -> None:
    """PostgreSQL gives any advisory lock to whoever can connect, and a table's own to who may only delete from it.

    Brokers start, record and list all the same.
    """
    name, stranger = new_name(), new_name()
    await postgres.run(f"CREATE DATABASE {name}")
    await postgres.run(f"CREATE ROLE {stranger} LOGIN")
    url = postgres.url(name)
    with psycopg.connect(url.replace("tester@", f"{stranger}@"), autocommit=True) as connection:
        for number in (1, 2):  # Those that brokers took turns by once.
            connection.execute("SELECT pg_advisory_lock(1986751588, %s)", (number,))
        async with open_ledger(url) as ledger:
            await ledger.record(denied(purpose="first"))
            await postgres.run(f"GRANT DELETE ON ledger_events TO {stranger}", name)
            connection.execute("BEGIN")
            connection.execute("LOCK TABLE ledger_events IN ROW EXCLUSIVE MODE")
            await ledger.record(denied(purpose="second"))
            assert [event.purpose for event in await all_events(ledger)] == ["first", "second"]
        async with open_ledger(url) as ledger:
            await ledger.record(denied(purpose="third"))
            assert len(await ledger.events(EventFilter())) == 3
    assert "everybody with a login may connect" in check_ledger(LedgerSettings(url=url))
    await postgres.run(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    assert check_ledger(LedgerSettings(url=url)) == ""


async def test_ids_that_were_moved_are_named_and_listed(sql_ledger: SqlLedger) -> None:
    """Ids are the database's and not hashed: no record can be moved to where lists do not look without a word."""
    for number in range(3):
        await sql_ledger.record(denied(purpose=str(number)))
    for move, says in (
        ("id - 1000", "record -999 "),
        ("id + 2000", "record 1001 was moved: the last id that was given"),
    ):
        with sql_ledger._database.changing() as connection:
            connection.execute(text(f"UPDATE {table_prefix(connection)}ledger_events SET id = {move}"))  # noqa: S608 (from above)
        found = await sql_ledger.verify()
        assert (found.intact, found.problem.startswith(says)) == (False, True), found.problem
        assert [event.purpose for event in await all_events(sql_ledger)] == ["0", "1", "2"]


# Everything by which text is compared, once more for the types of the ledger's columns and its driver's parameters.
TRAPS = """
CREATE FUNCTION public.to_json(character varying) RETURNS json LANGUAGE plpgsql AS
    $$ BEGIN RETURN replace(pg_catalog.to_json($1::text)::text, 'key:innocent', 'key:thief')::json; END $$;
CREATE FUNCTION public.sprung() RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'code of a stranger ran as %', current_user; END $$;
DO $do$ DECLARE sign text; one text; other text; BEGIN
    FOR one, other IN VALUES ('varchar', 'varchar'), ('varchar', 'text'), ('text', 'varchar'), ('name', 'varchar'),
        ('varchar', 'name'), ('oid', 'regtype'), ('bigint', 'numeric') LOOP
        EXECUTE format('CREATE FUNCTION public.sprung(%s, %s) RETURNS boolean IMMUTABLE LANGUAGE sql
            AS $$ SELECT public.sprung() $$', one, other);
        FOREACH sign IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>='] LOOP
            EXECUTE format('CREATE OPERATOR public.%s (FUNCTION = public.sprung, LEFTARG = %s, RIGHTARG = %s)',
                sign, one, other);
        END LOOP;
    END LOOP;
END $do$
"""


@pytest.mark.parametrize("schema", ["public", 'Own "% schema'])
async def test_stranger_in_the_database_neither_answers_for_the_ledger_nor_runs_in_it(
    postgres: Postgres, schema: str
) -> None:
    """Up to PostgreSQL 14 everybody may create in `public`, and what fits the types better is chosen before built-ins.

    So a function of a stranger could tell the check what a forged record once was, and an operator run as the broker.
    """
    name, stranger = new_name(), new_name()
    quoted = '"{}"'.format(schema.replace('"', '""'))
    await postgres.run(f"CREATE DATABASE {name}")
    await postgres.run(f"CREATE ROLE {stranger}")
    await postgres.run(f"CREATE SCHEMA IF NOT EXISTS {quoted}; GRANT CREATE ON SCHEMA public TO {stranger}", name)
    await postgres.run(f"SET ROLE {stranger}; {TRAPS}", name)
    with pytest.raises(subprocess.CalledProcessError) as sprung:
        await postgres.run("SELECT 'a'::varchar = 'a'::varchar", name)
    assert "code of a stranger ran as tester" in sprung.value.stderr
    path = quote(f"-csearch_path={quoted},public".replace(" ", "\\ "))
    async with open_ledger(f"{postgres.url(name)}&options={path}", retention_days=8) as ledger:
        for number, principal in enumerate(["key:trainer", "key:thief", "key:trainer"]):
            await ledger.record(issued(principal=principal, expires=10_000_000_000, purpose=str(number), time=1e9))
        assert len(await ledger.events(EventFilter(principal="key:trainer", since=1.0, unfinished=False))) == 2
        assert not await ledger.events(EventFilter(unfinished=True))
        assert len(await ledger.leases(LeaseFilter(active_at=2e9, principal="key:thief"))) == 1
        anchors = (await ledger.verify()).heads
        forgery = f"UPDATE {quoted}.ledger_events SET principal = 'key:innocent' WHERE id = 2"  # noqa: S608 (from above)
        await postgres.run(forgery, name)
        found = await ledger.verify(anchors)
        assert (found.intact, found.broken_id) == (False, 2), found.problem
        migrate_ledger(LedgerSettings(url=f"{postgres.url(name)}&options={path}"), stranger)
        await ledger.prune(2e9)
        assert [event.kind for event in await all_events(ledger)] == [EventKind.PRUNED]
        assert (await ledger.verify(anchors)).intact
