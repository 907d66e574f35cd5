"""Fills a ledger with millions of records quickly: rightly chained, and written past the broker.

What stands in it is what years of a broker leave behind: chains of many starts, two under way at any time; a few
callers and containers that have nearly all tokens, and rare ones; refusals and changes in between.
"""

import itertools
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import text

from valetkey_broker.ledger.chain import GENESIS, Row, extend
from valetkey_broker.ledger.database import Database
from valetkey_broker.ledger.engines import table_prefix
from valetkey_broker.ledger.schema import COLUMNS, events
from valetkey_broker.model import Event, EventKind, Head

DAY = 24 * 3600.0
DAYS = 400
CHAINS = 40
_AT_ONCE = 5_000
_NAMES = ", ".join(f'"{name}"' for name in COLUMNS)
_BEGUN, _MADE, _DENIED = 3, 4, 5  # of each hundred records


@dataclass(frozen=True, slots=True)
class Rare:
    """What few records have, all of them old: what is asked for in vain by who looks through all others."""

    principal: str
    container: str
    connector: str
    request_id: str
    lease_id: str


def fill(database: Database, records: int, now: float) -> Rare:
    """Makes the tables and writes that many records, the last of them now; returns what only few of them have."""
    database.migrate()
    rare_place = records // 50
    rare = Rare("key:rare", "rare", "azure-rare", _id(rare_place), _id(rare_place, "lease"))
    rows = _rows(records, now, rare)
    indexes = [index for index in events.indexes if index.name]
    with database.changing() as connection:
        for index in indexes:
            index.drop(connection)
        if database.is_sqlite:
            marks = ", ".join("?" * len(COLUMNS))
            cursor = connection.connection.cursor()
            for chunk in _chunks(rows):
                cursor.executemany(f"INSERT INTO ledger_events ({_NAMES}) VALUES ({marks})", chunk)  # noqa: S608
        else:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            driver = connection.connection.driver_connection
            assert driver is not None
            with driver.cursor().copy(f"COPY {table_prefix(connection)}ledger_events ({_NAMES}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        for index in indexes:
            index.create(connection)
    if not database.is_sqlite:
        with database.reading_each() as connection:
            connection.execute(text(f"VACUUM ANALYZE {table_prefix(connection)}ledger_events"))
    return rare


def _rows(records: int, now: float, rare: Rare) -> Iterator[Row]:
    """Yields rows by time, such that the two chains of one stretch alternate."""
    per_stretch = -(-records // (CHAINS // 2))
    step = DAYS * DAY / records
    number = 0
    while number < records:
        heads = [Head(str(uuid.uuid4()), 0, GENESIS) for _ in range(2)]
        for place in range(number, min(number + per_stretch, records)):
            which = place // 7 % 2
            (row,), heads[which] = extend(heads[which], [_event(place, now - (records - place) * step, rare)])
            yield row
        number += per_stretch


def _event(number: int, moment: float, rare: Rare) -> Event:
    of_hundred = number % 100
    if of_hundred in (_BEGUN, _MADE):
        kind = EventKind.CHANGE_BEGUN if of_hundred == _BEGUN else EventKind.ADMIN_CHANGE
        return Event(
            kind=kind,
            time=moment,
            request_id=_id(number - of_hundred),
            method="/valetkey.v1.GrantService/UpdateGrant",
            principal="key:admin",
            authentication="api-key",
            peer="192.0.2.9",
            object=f"grants/grant-{number // 100 % 500}",
        )
    is_rare = number == _rare_number(rare) or (number < _rare_number(rare) and number % 1000 == 0)
    shared = {
        "time": moment,
        "request_id": _id(number),
        "method": "/valetkey.v1.TokenService/IssueToken",
        "principal": rare.principal if is_rare else f"key:trainer-{number % 97}",
        "authentication": "api-key",
        "peer": "192.0.2.7",
        "connector": rare.connector if is_rare else f"azure-{number % 5}",
        "permissions": "rl",
    }
    container = rare.container if is_rare else f"models-{number % 211}"
    if of_hundred == _DENIED:
        return Event(kind=EventKind.DENIED, resource=f"az://{container}", reason="RESOURCE_DENIED", **shared)  # type: ignore[arg-type]
    return Event(
        kind=EventKind.TOKEN_ISSUED,
        resource=f"https://demoaccount.blob.core.windows.net/{container}",
        connector_uid="44444444-4444-4444-8444-444444444444",
        credential_version=3,
        ttl=900,
        expires=int(moment) + 900,
        lease_id=_id(number, "lease"),
        signature_sha256=f"{number:064x}",
        grant="training",
        purpose="run 17",
        **shared,  # type: ignore[arg-type]
    )


def _id(number: int, what: str = "request") -> str:
    """Returns an id that follows that of the number before, as the broker's own do."""
    return f"{'0f' if what == 'lease' else '0e'}000000-0000-4000-8000-{number:012x}"


def _rare_number(rare: Rare) -> int:
    return int(rare.request_id.rpartition("-")[2], 16)


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    while chunk := list(itertools.islice(rows, _AT_ONCE)):
        yield chunk
