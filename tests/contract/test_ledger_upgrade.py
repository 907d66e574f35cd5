"""A ledger of a broker from before records had details goes on under this one, on SQLite and on PostgreSQL."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from support import old_ledger
from support.ledgers import denied, new_name, open_ledger
from support.postgres import Postgres, running_postgres
from support.waiting import eventually
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.ledger import SqlLedger, migrate_ledger
from valetkey_broker.ledger.schema import HEAD_REVISION
from valetkey_broker.model import EventFilter, Head, LeaseFilter
from valetkey_broker.settings import LedgerSettings

pytestmark = pytest.mark.xdist_group("postgres-contract")
OLD_RECORDS = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def postgres() -> AsyncIterator[Postgres]:
    async with running_postgres() as server:
        yield server


@dataclass
class OldLedger:
    """A ledger with `OLD_RECORDS` records of the first form; `head` is its last one."""

    url: str
    file: Path
    head: Head

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Runs one statement in the database itself; `?` stands for a value."""
        if self.url.startswith("sqlite"):
            with contextlib.closing(sqlite3.connect(self.file)) as connection, connection:
                return connection.execute(sql, values).fetchall()
        with psycopg.connect(self.url) as pg:
            cursor = pg.execute(sql.replace("?", "%s").encode(), values)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(params=["sqlite", "postgres"])
async def old(request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path) -> OldLedger:
    url = f"sqlite:///{tmp_path}/ledger.db"
    if request.param == "postgres":
        name = new_name()
        await postgres.run(f"CREATE DATABASE {name}")
        url = postgres.url(name)
    made = OldLedger(url, tmp_path / "ledger.db", Head(old_ledger.WRITER, OLD_RECORDS, ""))
    old_ledger.make_tables(made.execute, sqlite=request.param == "sqlite")
    own = ""
    for sequence in range(1, OLD_RECORDS + 1):
        own = old_ledger.record(made.execute, sequence, own)
    made.head = Head(old_ledger.WRITER, OLD_RECORDS, own)
    return made


async def test_old_ledger_is_proven_and_goes_on(old: OldLedger) -> None:
    """Nothing of what was recorded is lost, changed or called broken, and heads that were noted still hold."""
    before = old.execute("SELECT * FROM ledger_events ORDER BY id")
    async with open_ledger(old.url) as ledger:
        await ledger.record(denied(details={"error": "expired"}))
        found = await ledger.verify([old.head])
        assert (found.intact, found.records, found.problem) == (True, OLD_RECORDS + 1, "")
        listed = await ledger.events(EventFilter())
        assert [stored.event.details for stored in listed] == [{}] * OLD_RECORDS + [{"error": "expired"}]
        assert listed[0].event.purpose == 'größer: "run"'
        assert len(await ledger.leases(LeaseFilter(container="models"))) == OLD_RECORDS
    after = old.execute("SELECT * FROM ledger_events ORDER BY id")
    assert [row[:-2] for row in after[:OLD_RECORDS]] == before
    assert [row[-2:] for row in after] == [(1, "")] * OLD_RECORDS + [(2, '{"error":"expired"}')]


async def test_broker_of_before_may_still_write_beside(old: OldLedger) -> None:
    """Replicas are updated one by one: what an old one records after the migration is of the first form, and holds."""
    async with open_ledger(old.url) as ledger:
        own = old_ledger.record(old.execute, OLD_RECORDS + 1, old.head.hash)
        await ledger.record(denied(details={"error": "expired"}))
        found = await ledger.verify()
        assert found.intact, found.problem
        assert Head(old_ledger.WRITER, OLD_RECORDS + 1, own) in found.heads


async def test_broker_of_before_starts_on_the_tables_of_the_next_release(old: OldLedger) -> None:
    """A rollback needs no restore: what the next release added is left alone, and all goes on, records included."""
    async with open_ledger(old.url):
        pass
    for statement in (
        "ALTER TABLE ledger_events ADD COLUMN later VARCHAR NOT NULL DEFAULT 'later'",
        "CREATE INDEX ledger_events_later ON ledger_events (later)",
        "CREATE TABLE ledger_later (id BIGINT)",
        "UPDATE ledger_version SET version_num = '0999'",
    ):
        old.execute(statement)
    said = migrate_ledger(LedgerSettings(url=old.url))
    assert said.endswith(f"version 0999, to which a newer broker added; this one needs {HEAD_REVISION}")
    async with open_ledger(old.url) as ledger:
        await ledger.record(denied(details={"error": "expired"}))
        assert len(await ledger.events(EventFilter())) == OLD_RECORDS + 1
        assert (await ledger.verify([old.head])).intact
        assert await ledger.prune(1_790_000_000.250_003)
    assert old.execute("SELECT version_num FROM ledger_version") == [("0999",)]
    assert old.execute("SELECT DISTINCT later FROM ledger_events") == [("later",)]


async def test_migration_is_done_once(old: OldLedger) -> None:
    """Starting again changes nothing."""
    for _ in range(2):
        async with open_ledger(old.url):
            pass
    assert old.execute("SELECT version_num FROM ledger_version") == [("0004",)]
    assert old.execute("SELECT count(*) FROM ledger_events") == [(OLD_RECORDS,)]


async def test_tables_that_another_broker_makes_or_changes_are_waited_for(postgres: Postgres) -> None:
    """Brokers that start at once take turns, and who gives rights, too; who has nothing to change waits for nobody."""
    name, role = new_name(), new_name()
    await postgres.run(f"CREATE DATABASE {name}")
    await postgres.run(f"CREATE ROLE {role}")
    url = postgres.url(name)
    settings = LedgerSettings(url=url, timeout_seconds=60.0)
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'valetkey-broker' "
        "AND datname = current_database()"
    )

    with psycopg.connect(url) as other, psycopg.connect(url, autocommit=True) as look:

        async def starting_meanwhile(grant_to: str = "") -> str:
            starting = asyncio.create_task(asyncio.to_thread(migrate_ledger, settings, grant_to))
            await eventually(lambda: starting.done() or look.execute(waiting).fetchone() == (1,))
            assert not starting.done()
            other.commit()
            return await starting

        old_ledger.make_tables(lambda sql, _: other.execute(sql.encode()), sqlite=False)
        assert (await starting_meanwhile()).endswith(f"version {HEAD_REVISION}")
        other.execute("UPDATE ledger_version SET version_num = '0001'")
        other.commit()
        other.execute("LOCK TABLE ledger_version IN SHARE UPDATE EXCLUSIVE MODE")
        other.execute("UPDATE ledger_version SET version_num = '0999'")
        assert "version 0999, to which a newer broker added" in await starting_meanwhile()
        other.execute("LOCK TABLE ledger_version IN SHARE UPDATE EXCLUSIVE MODE")
        assert "version 0999, to which a newer broker added" in await asyncio.to_thread(migrate_ledger, settings)
        assert (await starting_meanwhile(role)).endswith(f"{role} may add to it and read it")


async def test_old_records_are_pruned_as_ever(old: OldLedger) -> None:
    """Retention takes records of either form, and what is left is proven from the checkpoint on."""
    async with open_ledger(old.url) as ledger:
        assert await ledger.prune(1_790_000_000.250_003) == 2
        found = await ledger.verify([old.head])
        assert (found.intact, found.records) == (True, OLD_RECORDS - 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ('details = \'{"error":"planted"}\'', "it was changed"),
        ("version = 2", "it was changed"),
        ("version = 0", "it was changed"),
        ("version = 3", "its form has version 3"),
        ("purpose = 'planted'", "it was changed"),
    ],
)
async def test_old_record_cannot_be_given_what_its_form_does_not_cover(old: OldLedger, change: str, says: str) -> None:
    """Details are outside the first form: one that is put into an old record must not pass for part of it."""
    async with open_ledger(old.url) as ledger:
        old.execute(f"UPDATE ledger_events SET {change} WHERE id = 2")  # noqa: S608 (from above)
        found = await ledger.verify()
        assert (found.intact, found.broken_id) == (False, 2)
        assert says in found.problem


async def test_role_that_does_not_own_the_tables_reads_what_to_do(postgres: Postgres) -> None:
    """With the documented rights a broker cannot migrate: it says who can, and leaves the ledger alone."""
    name = new_name()
    await postgres.run(f"CREATE DATABASE {name}")
    made = OldLedger(postgres.url(name), Path(), Head("", 0, ""))
    old_ledger.make_tables(made.execute, sqlite=False)
    await postgres.run(
        "CREATE ROLE writer LOGIN; GRANT SELECT, INSERT ON ledger_events TO writer; "
        "GRANT SELECT ON ledger_version TO writer",
        name,
    )
    with pytest.raises(ConfigurationError, match="let the role that owns them start this version once"):
        await SqlLedger(LedgerSettings(url=made.url.replace("tester@", "writer@"))).open()
    assert made.execute("SELECT version_num FROM ledger_version") == [("0001",)]


async def test_role_of_the_brokers_gets_what_it_needs_and_no_more(postgres: Postgres) -> None:
    """After `migrate --grant-to` that role records and reads; it cannot change, delete or alter, whatever it had."""
    name = new_name()
    await postgres.run(f"CREATE DATABASE {name}")
    await postgres.run('CREATE ROLE "own %er" LOGIN')
    url = postgres.url(name)
    with pytest.raises(ConfigurationError, match="has no role 'nobody-there'"):
        migrate_ledger(LedgerSettings(url=url), "nobody-there")
    with pytest.raises(ConfigurationError, match="'tester' owns the tables"):
        migrate_ledger(LedgerSettings(url=url), "tester")
    await postgres.run('GRANT ALL ON ledger_events, ledger_checkpoints TO "own %er"', name)
    for _ in range(2):
        said = migrate_ledger(LedgerSettings(url=url), "own %er")
        assert said.endswith("tables of version 0004; own %er may add to it and read it")
    own = url.replace("tester@", "own%20%25er@")
    async with open_ledger(own) as ledger:
        await ledger.record(denied())
        assert len(await ledger.events(EventFilter(limit=10))) == 1
        assert (await ledger.verify()).intact
    for sql in (
        "UPDATE ledger_events SET purpose = ''",
        "DELETE FROM ledger_events",
        "TRUNCATE ledger_events",
        "ALTER TABLE ledger_events ADD COLUMN planted int",
        "DROP TABLE ledger_checkpoints",
        "DELETE FROM ledger_checkpoints",
        "UPDATE ledger_version SET version_num = '0001'",
    ):
        with psycopg.connect(own) as pg, pytest.raises(psycopg.errors.InsufficientPrivilege):
            pg.execute(sql.encode())
