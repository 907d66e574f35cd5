"""Records as a check of all of them reads them: in pages by id, each with its canonical form.

SQLite lays that form out, in a fraction of the time that Python takes. Where it may differ from Python's, and for what
it cannot lay out, `is_exact` says no, and whoever checks such a record makes the form by `chain.hash_of`.

PostgreSQL is asked for nothing but the values: others who use the database can define functions there that fit the
types of the columns better than the built-in ones of the same name, and would answer for the ledger. In SQLite only a
connection defines functions, for itself.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, TypeGuard

from sqlalchemy import Connection, select

from valetkey_broker.ledger.chain import FORM_COLUMNS, FORM_NAME, VERSION, Row, canonical_form
from valetkey_broker.ledger.database import Database
from valetkey_broker.ledger.schema import events

Place: TypeAlias = tuple[int, Any, Any, Any, Any, str | None]
"""Id, writer, sequence, the hash before, its own hash, and the canonical form: None where the database has none."""

PAGE = 1000
_FIRST_ID, _LAST_ID = -(2**63), 2**63 - 1
# Python escapes it; SQLite writes it as it is, and escapes all else in ASCII as Python does.
_DELETE = "\x7f"
_COLUMNS = ", ".join(f'"{name}"' for name in FORM_COLUMNS)
# It tells numbers, texts and blobs apart, so that no value passes for another one that looks alike.
_SQLITE_FORM = f"CASE version WHEN {VERSION} THEN json_array('{FORM_NAME}', {_COLUMNS}) END"
_PAGE = (
    "SELECT id, writer, sequence, previous_hash, hash, {0} "  # noqa: S608 (our constants)
    f"FROM ledger_events WHERE id >= ? ORDER BY id LIMIT {PAGE}"
)
_WHOLE, _BARE = (_PAGE.format(each) for each in (_SQLITE_FORM, "NULL"))


def pages(database: Database, connection: Connection) -> Iterator[Sequence[Place]]:
    """Yields all records by id, PAGE at a time. `connection` is in a transaction, which sees one moment."""
    driver: Any = connection.connection.driver_connection
    first = _FIRST_ID
    while page := _sqlite_page(driver, first) if database.is_sqlite else _postgres_page(connection, first):
        yield page
        if page[-1][0] == _LAST_ID:
            return
        first = page[-1][0] + 1


def whole_rows(connection: Connection, page: Sequence[Place]) -> dict[int, Row]:
    """Returns the values of the records of a page, in the order of the table's columns, by id."""
    query = select(events).where(events.c.id.between(page[0][0], page[-1][0]))
    return {row[0]: tuple(row[1:]) for row in connection.execute(query)}


def is_exact(canonical: str | None) -> TypeGuard[str]:
    """Tells whether what was laid out for a page is the canonical form."""
    return canonical is not None and canonical.isascii() and _DELETE not in canonical


def _postgres_page(connection: Connection, first: int) -> Sequence[Place]:
    query = select(events).where(events.c.id >= first).order_by(events.c.id).limit(PAGE)
    return [(number, *row[:4], _form(row)) for number, *row in connection.execute(query)]


def _form(row: Sequence[Any]) -> str | None:
    try:
        return canonical_form(row)
    except (ValueError, TypeError):
        return None


def _sqlite_page(driver: Any, first: int) -> Sequence[Place]:
    found: Sequence[Place]
    any_text = driver.text_factory
    driver.text_factory = str
    try:
        found = driver.execute(_WHOLE, (first,)).fetchall()
    except sqlite3.OperationalError:
        # One of them holds text that is no UTF-8, or a blob.
        driver.text_factory = any_text
        found = driver.execute(_BARE, (first,)).fetchall()
    finally:
        driver.text_factory = any_text
    return found
