"""Somebody who can write to the database changes the record: what the check sees, and what it honestly cannot."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from support.crashes import REVOCATION
from support.ledgers import denied, issued, open_ledger
from support.postgres import running_postgres
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.api.ledger_messages import event_message, head_message, lease_message
from valetkey_broker.errors import BrokerError
from valetkey_broker.ledger import SqlLedger
from valetkey_broker.ledger.chain import GENESIS, extend, hash_of
from valetkey_broker.ledger.schema import events
from valetkey_broker.model import Event, EventFilter, EventKind, Head, LeaseFilter, Verification
from valetkey_broker.revoking.lease_states import LeaseStates
from valetkey_broker.state.memory import Memory

pytestmark = pytest.mark.unmeasured

RECORDS = 6
DOCS = Path(__file__).parents[2] / "docs/ledger.md"


class Forger:
    """A hand in the database itself."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def run(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Runs one statement."""
        with contextlib.closing(sqlite3.connect(self._file)) as connection, connection:
            return connection.execute(sql, values).fetchall()

    def row(self, number: int) -> list[Any]:
        """Returns a record without its id."""
        return list(self.run("SELECT * FROM ledger_events WHERE id = ?", number)[0][1:])

    def put(self, rows: Sequence[Sequence[Any]]) -> None:
        """Inserts records."""
        for row in rows:
            marks = ", ".join("?" * (len(row) + 1))
            self.run(f"INSERT INTO ledger_events VALUES ({marks})", None, *row)  # noqa: S608 (question marks)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqlLedger]:
    async with open_ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        for number in range(RECORDS):
            details = {"error": "expired"} if number == 2 else {}
            await ledger.record(issued(purpose=f"run {number}", principal="key:thief", details=details))
        assert (await ledger.verify()).intact
        yield ledger


@pytest.fixture
def forger(ledger: SqlLedger, tmp_path: Path) -> Forger:
    return Forger(tmp_path / "ledger.db")


def assert_broken(found: Verification, number: int, what: str) -> None:
    assert not found.intact
    assert found.broken_id == number
    assert what in found.problem


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("principal", "key:somebody-else"),
        ("time_us", 1),
        ("kind", "denied"),
        ("permissions", "r"),
        ("expires", 1_790_000_901),
        ("container", "other"),
        ("previous_hash", "00" * 32),
        ("details", ""),
        ("details", '{"error":"none"}'),
        ("details", '{"error": "expired"}'),
        ("version", 1),
        ("version", 3),
        ("hash", "00" * 32),
        ("hash", "no hash at all"),
        ("previous_hash", "no hash at all"),
        ("writer", "99999999-9999-4999-8999-999999999999"),
    ],
)
async def test_changed_record_is_named(ledger: SqlLedger, forger: Forger, column: str, value: Any) -> None:
    """No column of a record can be changed without the check naming that record."""
    forger.run(f"UPDATE ledger_events SET {column} = ? WHERE id = 3", value)  # noqa: S608 (a name from above)
    assert_broken(await ledger.verify(), 3, "record 3")


@pytest.mark.parametrize("column", [column.name for column in events.columns if column.name != "id"])
async def test_nonsense_does_not_end_the_check(ledger: SqlLedger, forger: Forger, column: str) -> None:
    """Bytes where text or a number belongs make a broken record, not a broken check."""
    forger.run(f"UPDATE ledger_events SET \"{column}\" = X'FF00' WHERE id = 3")  # noqa: S608 (a name from the schema)
    assert_broken(await ledger.verify(), 3, "record 3")


async def test_event_of_a_kind_to_come_is_verified_and_listed(ledger: SqlLedger, forger: Forger) -> None:
    """A replica that is newer may record more kinds: an old one shows that there is something, and proves the chain."""
    (head,) = (await ledger.verify()).heads
    (row,), _ = extend(Head("99999999-9999-4999-8999-999999999999", 0, GENESIS), [issued()])
    newer = [*row[:4], "to-come", *row[5:]]
    forger.put([[*newer[:3], hash_of(newer, GENESIS), *newer[4:]]])
    found = await ledger.verify([head])
    assert (found.intact, found.records) == (True, RECORDS + 1)
    assert [stored.event.kind for stored in await ledger.events(EventFilter())][-1] is EventKind.UNKNOWN
    (unknown,) = await ledger.events(EventFilter(kind=EventKind.UNKNOWN))
    assert unknown.event.principal == "key:trainer"


async def test_changed_record_with_a_fitting_hash_is_seen(ledger: SqlLedger, forger: Forger) -> None:
    """Who computes the record's hash anew breaks the one after it."""
    row = forger.row(3)
    row[7] = "/forged"
    own = hash_of(row, row[2])
    forger.run("UPDATE ledger_events SET method = '/forged', hash = ? WHERE id = 3", own)
    assert_broken(await ledger.verify(), 4, "does not follow the record before it")


@pytest.mark.parametrize("gone", [1, 3, RECORDS - 1])
async def test_removed_record_is_seen(ledger: SqlLedger, forger: Forger, gone: int) -> None:
    """A record that is taken out is missed by the next one, at the beginning of a chain too."""
    forger.run("DELETE FROM ledger_events WHERE id = ?", gone)
    assert_broken(await ledger.verify(), gone + 1, f"sequence {gone} was due")


async def test_renumbered_chain_is_seen(ledger: SqlLedger, forger: Forger) -> None:
    """Closing the gap by counting anew does not help: the sequence is hashed."""
    forger.run("DELETE FROM ledger_events WHERE id = 3")
    forger.run("UPDATE ledger_events SET sequence = sequence - 1 WHERE id = 4")
    assert_broken(await ledger.verify(), 4, "changed")


async def test_reordered_records_are_seen(ledger: SqlLedger, forger: Forger) -> None:
    """Two records that changed places are named as such."""
    for old, new in ((2, 99), (3, 2), (99, 3)):
        forger.run("UPDATE ledger_events SET id = ? WHERE id = ?", new, old)
    assert_broken(await ledger.verify(), 2, "reordered")


async def test_record_put_in_between_is_seen(ledger: SqlLedger, forger: Forger) -> None:
    """A record that the broker did not write does not fit, whether it claims a place or makes one."""
    row = forger.row(RECORDS)
    forger.run("DELETE FROM ledger_events WHERE id = ?", RECORDS)
    head = Head(row[0], RECORDS - 1, "11" * 32)
    forged, _ = extend(head, [issued(principal="key:innocent")])
    forger.put(forged)
    assert_broken(await ledger.verify(), RECORDS + 1, "does not follow")


async def test_cut_off_end_is_seen_with_an_anchor_only(ledger: SqlLedger, forger: Forger) -> None:
    """The documented limit: the end of a chain can go unseen, unless a head was noted outside."""
    anchors = (await ledger.verify()).heads
    forger.run("DELETE FROM ledger_events WHERE id > 4")
    without = await ledger.verify()
    assert without.intact
    assert without.heads[0].sequence == 4
    assert_broken(await ledger.verify(anchors), 4, "cut off, it ends at 4")


async def test_running_broker_notices_that_its_end_was_cut_off(ledger: SqlLedger, forger: Forger) -> None:
    """While the writer lives it is the anchor: it writes nothing behind a gap and turns unhealthy."""
    forger.run("DELETE FROM ledger_events WHERE id > 4")
    with pytest.raises(Exception, match="its own last record is gone"):
        await ledger.record(denied())
    assert not ledger.healthy()


async def test_running_broker_notices_a_forged_end(ledger: SqlLedger, forger: Forger) -> None:
    """A record that somebody else put behind the writer's own stops it."""
    (head,) = (await ledger.verify()).heads
    forged, _ = extend(head, [issued(principal="key:innocent")])
    forger.put(forged)
    with pytest.raises(Exception, match="the ledger cannot be used"):
        await ledger.record(denied())
    assert not ledger.healthy()


async def test_chain_made_anew_is_seen_with_an_anchor_only(ledger: SqlLedger, forger: Forger) -> None:
    """Whoever rewrites everything from a record to the end is caught by a head noted outside."""
    anchors = (await ledger.verify()).heads
    before = forger.row(3)
    forger.run("DELETE FROM ledger_events WHERE id > 3")
    forged, _ = extend(Head(before[0], 3, before[3]), [issued(principal="key:innocent")] * (RECORDS - 3))
    forger.put(forged)
    assert (await ledger.verify()).intact
    assert not (found := await ledger.verify(anchors)).intact
    assert "made anew" in found.problem


async def test_whole_chain_gone_is_seen_with_an_anchor_only(ledger: SqlLedger, forger: Forger) -> None:
    """Not even a whole writer can vanish from under a head noted outside."""
    anchors = (await ledger.verify()).heads
    forger.run("DELETE FROM ledger_events")
    assert (await ledger.verify()).intact
    assert_broken(await ledger.verify(anchors), 0, "is gone")


async def test_forged_checkpoint_is_seen(ledger: SqlLedger, forger: Forger) -> None:
    """Removing the beginning of a chain and calling it pruned needs a record that says so."""
    row = forger.row(3)
    forger.run("DELETE FROM ledger_events WHERE id <= 3")
    forger.run("INSERT INTO ledger_checkpoints VALUES (?, ?, ?, ?)", row[0], 3, row[3], 1)
    assert_broken(await ledger.verify(), RECORDS, "no record says that what was before was pruned")


async def test_first_of_several_breaks_is_named(ledger: SqlLedger, forger: Forger) -> None:
    """With more than one forgery the first in the ledger is the one that is named."""
    forger.run("UPDATE ledger_events SET purpose = 'x' WHERE id IN (2, 5)")
    assert_broken(await ledger.verify(), 2, "record 2")


async def test_signature_is_never_in_the_ledger(ledger: SqlLedger, tmp_path: Path) -> None:
    """The file holds hashes only: the record of a token is no token."""
    await ledger.record(issued(signature_sha256="cd" * 32))
    data = b"".join(file.read_bytes() for file in tmp_path.iterdir())  # noqa: ASYNC240 (a small file)
    assert b"cd" * 32 in data
    assert b"sig=" not in data


async def test_database_itself_can_forbid_changes() -> None:
    """With the documented rights of PostgreSQL the broker records, and nobody with its login can change a record."""
    async with running_postgres() as postgres:
        async with open_ledger(postgres.url()) as owner:
            await owner.record(issued(time=1.0))
        text = await asyncio.to_thread(DOCS.read_text, encoding="utf-8")
        await postgres.run("CREATE ROLE valetkey LOGIN; " + text.partition("```sql\n")[2].partition("```")[0])
        url = postgres.url().replace("tester@", "valetkey@")
        async with open_ledger(url) as ledger:
            await ledger.record(denied())
            assert (await ledger.verify()).records == 2
            for sql in (
                "UPDATE ledger_events SET principal = 'x'",
                "DELETE FROM ledger_events",
                "DROP TABLE ledger_events",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege), psycopg.connect(url) as connection:
                    connection.execute(sql)
            with pytest.raises(BrokerError, match="does not allow"):
                await ledger.prune(2.0)
            assert ledger.healthy()
            assert (await ledger.verify()).intact
            await postgres.run("ALTER TABLE ledger_events ENABLE ROW LEVEL SECURITY")
            await postgres.run("CREATE POLICY all_of_it ON ledger_events FOR SELECT USING (true)")
            assert_broken(await ledger.verify(), 0, "no table that holds records")


async def test_ids_moved_before_the_beginning_hide_nothing(ledger: SqlLedger, forger: Forger) -> None:
    """Ids are not hashed, and lists begin with the first: moving a writer's records down is named, and hides none."""
    forger.run("UPDATE ledger_events SET id = id - 1000000")
    assert_broken(await ledger.verify(), 1 - 1_000_000, "was moved")
    listed = await ledger.events(EventFilter())
    assert [stored.event.purpose for stored in listed] == [f"run {number}" for number in range(RECORDS)]
    assert [stored.sequence for stored in await ledger.events(EventFilter(after_id=3 - 1_000_000))] == [4, 5, 6]
    assert len(await ledger.leases(LeaseFilter())) == RECORDS


async def test_id_zero_is_named(ledger: SqlLedger, forger: Forger) -> None:
    """The one id that reads as none is no hiding place, neither for a record nor for the head of a chain."""
    forger.run("UPDATE ledger_events SET id = id - ?", RECORDS)
    found = await ledger.verify()
    assert_broken(found, 1 - RECORDS, "was moved")
    assert [head.sequence for head in found.heads] == [RECORDS]


async def test_ids_moved_beyond_the_end_are_named(ledger: SqlLedger, forger: Forger) -> None:
    """Records moved to where no id has been given yet would let whoever follows the ledger miss the next ones."""
    forger.run("UPDATE ledger_events SET id = id + 1000000")
    assert_broken(await ledger.verify(), 1 + 1_000_000, "was moved: the last id that was given is 6")


async def test_outcome_of_a_change_is_found_by_its_place_in_the_chain(ledger: SqlLedger, forger: Forger) -> None:
    """Moving a record does not make a change without an outcome look finished: what counts is hashed."""
    call = {"request_id": "r", "method": "/m", "object": "grants/x", "time": 1.0}
    await ledger.record(Event(kind=EventKind.ADMIN_CHANGE, **call))
    await ledger.record(Event(kind=EventKind.CHANGE_BEGUN, **call))
    forger.run("UPDATE ledger_events SET id = id + 10 WHERE kind = 'admin-change'")
    (begun,) = await ledger.events(EventFilter(unfinished=True))
    assert begun.event.kind is EventKind.CHANGE_BEGUN


async def test_index_that_forgot_a_record_is_named(ledger: SqlLedger, forger: Forger, tmp_path: Path) -> None:
    """Lists find records by indexes and the check does not: one that leaves a record out must not go unseen."""
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        ((sql,),) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'ledger_events_principal'")
        connection.execute("DROP INDEX ledger_events_principal")
        connection.execute(f"{sql} WHERE id <> 3")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'ledger_events_principal'", (sql,))
    assert len(await ledger.events(EventFilter(principal="key:thief"))) == RECORDS - 1
    found = await ledger.verify()
    assert not found.intact
    assert "row 3 missing from index ledger_events_principal" in found.problem


@pytest.mark.parametrize("name", ["ledger_events", "ledger_checkpoints"])
async def test_view_in_place_of_a_table_is_named(ledger: SqlLedger, forger: Forger, name: str) -> None:
    """A view can show the check what a list is not shown, so that its rows fit the chain proves nothing."""
    forger.run(f"ALTER TABLE {name} RENAME TO stored")
    forger.run(f"CREATE VIEW {name} AS SELECT * FROM stored")  # noqa: S608 (from above)
    assert_broken(await ledger.verify(), 0, "no table that holds records")


@pytest.mark.parametrize(
    "statements",
    [
        (
            "ALTER TABLE ledger_events RENAME COLUMN purpose TO stored",
            "ALTER TABLE ledger_events ADD COLUMN purpose VARCHAR AS (stored)",
        ),
        (
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_schema SET sql = replace(sql, 'ttl BIGINT', 'ttl INT') WHERE name = 'ledger_events'",
            "CREATE TABLE later (x)",  # With it connections read the schema again.
        ),
        (
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_schema SET sql = replace(sql, 'PRIMARY KEY AUTOINCREMENT', '') WHERE name = 'ledger_events'",
            "CREATE TABLE later (x)",
        ),
    ],
    ids=["computed", "of another type", "no key"],
)
async def test_altered_column_is_named(ledger: SqlLedger, tmp_path: Path, statements: Sequence[str]) -> None:
    """A column that is computed, or of another type, can show the check what a list is not shown."""
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    assert_broken(await ledger.verify(), 0, "columns that were altered")


async def test_records_before_the_first_are_pruned(ledger: SqlLedger, forger: Forger) -> None:
    """Sequences begin at 1: what somebody put before goes when it is old, and what is kept stays proven."""
    row = forger.row(1)
    for sequence in (-4, 0):
        forger.put([[row[0], sequence, *row[2:5], 1, *row[6:]]])
    assert not (await ledger.verify()).intact
    await ledger.prune(2.0)
    assert forger.run("SELECT count(*) FROM ledger_events WHERE sequence < 1") == [(0,)]
    assert (await ledger.verify()).intact


@pytest.mark.parametrize("value", ["X'FF00'", "CAST(X'FF0A1B' AS TEXT)", "'\x1b[2J'", "-9000000000000000000"])
async def test_nonsense_does_not_end_a_list(ledger: SqlLedger, forger: Forger, value: str) -> None:
    """One record that holds what no broker writes must not hide those behind it; the check names it."""
    memory = Memory()
    memory.put_revocation(REVOCATION)  # So that each lease is held against one.
    states = LeaseStates(memory, AUTH_METHODS, lambda: 0.0)
    for column in [column.name for column in events.columns if column.name != "id"]:
        forger.run("CREATE TABLE before AS SELECT * FROM ledger_events")
        forger.run(f'UPDATE ledger_events SET "{column}" = {value} WHERE id = 3')  # noqa: S608 (our names and values)
        listed = await ledger.events(EventFilter())
        assert len(listed) == RECORDS, column
        shown = [lease_message(each.event, *states.of(each.event)) for each in listed]
        assert "\x1b" not in "".join(map(str, [*map(event_message, listed), *shown]))
        found = await ledger.verify()
        assert_broken(found, 3, "record 3")
        assert all(head_message(head).writer.isprintable() for head in found.heads)
        assert found.problem.isprintable()
        for sql in ("DELETE FROM ledger_events", "INSERT INTO ledger_events SELECT * FROM before", "DROP TABLE before"):
            forger.run(sql)
