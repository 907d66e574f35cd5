"""A ledger of many records: what is asked costs no more for what else is in it, and a check misses no forgery."""

import sqlite3
import time
from pathlib import Path

import pytest

from bench.large_ledger import fill
from support.ledgers import provide_tables
from valetkey_broker.ledger.canonical_rows import pages
from valetkey_broker.ledger.chain_verification import verify
from valetkey_broker.ledger.database import Database
from valetkey_broker.ledger.prune import find_cuts
from valetkey_broker.ledger.reader import read_events, read_leases
from valetkey_broker.model import EventFilter, EventKind, LeaseFilter, Secret

SMALL, LARGE = 1000, 8000
DAY = 24 * 3600.0


def ledger_of(records: int, directory: Path, now: float) -> Database:
    file = directory / f"{records}.db"
    provide_tables(file)
    database = Database(lambda: Secret(f"sqlite:///{file}"), 60.0)
    fill(database, records, now)
    return database


def steps(database: Database, wanted: LeaseFilter | EventFilter) -> int:
    """Returns how many tens of steps SQLite takes to answer."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    with database.reading() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_progress_handler(count, 10)  # The pool gives the same connection to whom asks next.
    if isinstance(wanted, LeaseFilter):
        read_leases(database, wanted)
    else:
        read_events(database, wanted)
    return counted


def test_what_is_rare_costs_nothing_for_what_is_not(tmp_path: Path) -> None:
    """Protects `lease list --principal X`, which went through all that X ever had, and two conditions at once.

    Of those the database took any, and went through all records of a connector for the few that a caller had of it.
    """
    now = time.time()
    small, large = (ledger_of(size, tmp_path, now) for size in (SMALL, LARGE))
    for wanted in (
        LeaseFilter(principal="key:trainer-5", active_at=now - DAY / 2, limit=101),
        LeaseFilter(principal="key:rare", connector="azure-1", limit=101),
        LeaseFilter(principal="key:rare", container="models-7", connector="azure-1", limit=101),
        LeaseFilter(connector="azure-rare", container="models-7", limit=101),
        EventFilter(connector="azure-1", kind=EventKind.ROTATION, limit=101),
        EventFilter(principal="key:rare", connector="azure-1", limit=101),
    ):
        assert 0 < steps(large, wanted) <= 3 * steps(small, wanted), wanted


def test_old_tokens_among_many_that_live_are_not_looked_for_in_all_of_the_past(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Protects lists of revocations: each went through all that its connector ever signed, for tokens long over."""
    monkeypatch.setattr("valetkey_broker.ledger.reader._FEW_LIVING", 3)
    now = time.time()

    def cost(records: int) -> int:
        database, ten_live = ledger_of(records, tmp_path, now), now - 10 * 400 * DAY / records
        wanted = LeaseFilter(connector="azure-1", active_at=ten_live, issued_before=now - 100 * DAY)
        return steps(database, wanted)

    assert 0 < cost(LARGE) <= 3 * cost(SMALL)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("purpose = 'run 18'", "it was changed"),
        # What looks alike as text, and would be shown as something else.
        ("principal = CAST(principal AS BLOB)", "it was changed"),
        ("ttl = CAST('900' AS BLOB)", "it was changed"),
        ("ttl = 900.5", "it was changed"),
        ("purpose = CAST(x'ff' AS TEXT)", "it was changed"),
        ("version = 1", "it was changed"),
        ("previous_hash = upper(previous_hash)", ""),
        ("sequence = 1000000", "records were"),
    ],
)
def test_a_forgery_among_thousands_is_named(tmp_path: Path, change: str, said: str) -> None:
    """Protects the check from trusting what the database lays out where something was planted in the database."""
    database = ledger_of(SMALL, tmp_path, time.time())
    told: list[int] = []
    assert verify(database, [], told.append).intact
    assert told[-1] == SMALL
    with sqlite3.connect(database.path) as connection:
        connection.execute(f"UPDATE ledger_events SET {change} WHERE id = 707")  # noqa: S608 (of this test)
    found = verify(database, [])
    assert (found.intact, found.broken_id, said in found.problem) == (False, 707, True)


def test_no_blob_is_laid_out_as_json(tmp_path: Path) -> None:
    """Newer versions of SQLite write the JSON that some blobs stand for, which is not what a list shows.

    Older ones refuse all blobs. So where SQLite is asked for none, each record beside one still comes as a line.
    """
    database = ledger_of(SMALL, tmp_path, time.time())
    with sqlite3.connect(database.path) as connection:
        for number, name in ((7, "writer"), (70, "ttl"), (700, "hash")):
            connection.execute(f"UPDATE ledger_events SET {name} = x'00ff' WHERE id = {number}")  # noqa: S608 (of this test)
    with database.reading() as reading:
        places = [place for page in pages(database, reading) for place in page]
    assert [place for place in places if isinstance(place, int)] == [7, 70, 700]
    assert len(places) == SMALL


def test_chains_with_something_to_prune_are_found_by_a_look_at_each(tmp_path: Path) -> None:
    """Protects pruning from going through all that is old for the names of its writers."""
    now = time.time()
    database = ledger_of(SMALL, tmp_path, now)
    before = now - 200 * DAY
    with sqlite3.connect(database.path) as connection:
        query = "SELECT writer, count(*) FROM ledger_events WHERE time_us < ? GROUP BY writer"
        old = dict(connection.execute(query, (round(before * 1e6),)))
    cuts = find_cuts(database, before, now)
    assert {cut.upto.writer: cut.records for cut in cuts} == old
    assert find_cuts(database, now - 401 * DAY, now) == []
