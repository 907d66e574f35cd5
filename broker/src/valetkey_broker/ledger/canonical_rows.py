"""Records as a check of all of them reads them: in pages by id, each with its canonical form.

The database lays that form out, in a fraction of the time that Python takes. Where it may differ from Python's, and for
what it cannot lay out, `is_exact` says no, and whoever checks such a record makes the form by `chain.hash_of`.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, TypeGuard

from sqlalchemy import Connection, select

from valetkey_broker.ledger.chain import FORM_COLUMNS, FORM_NAME, VERSION, Row
from valetkey_broker.ledger.database import Database
from valetkey_broker.ledger.schema import NUMBERS, events

Place: TypeAlias = tuple[int, Any, Any, Any, Any, str | None]
"""Id, writer, sequence, the hash before, its own hash, and the canonical form: None where the database has none."""

PAGE = 1000
_FIRST_ID, _LAST_ID = -(2**63), 2**63 - 1
# Python escapes it; the databases write it as it is, and escape all else in ASCII as Python does.
_DELETE = "\x7f"
_COLUMNS = ", ".join(f'"{name}"' for name in FORM_COLUMNS)
_POSTGRES_FORM = " || ',' || ".join(
    f'"{name}"' if name in NUMBERS else f'to_json("{name}")::text' for name in FORM_COLUMNS
)
_FORMS = {
    # It tells numbers, texts and blobs apart, so that no value passes for another one that looks alike.
    True: f"json_array('{FORM_NAME}', {_COLUMNS})",
    False: f"""'["{FORM_NAME}",' || {_POSTGRES_FORM} || ']'""",
}
_PAGE = "SELECT id, writer, sequence, previous_hash, hash, {0} FROM ledger_events WHERE id >= {1} ORDER BY id LIMIT {2}"


def pages(database: Database, connection: Connection) -> Iterator[Sequence[Place]]:
    """Yields all records by id, PAGE at a time. `connection` is in a transaction, which sees one moment."""
    driver: Any = connection.connection.driver_connection
    mark = "?" if database.is_sqlite else "%s"
    form = f"CASE version WHEN {VERSION} THEN {_FORMS[database.is_sqlite]} END"
    whole, bare = (_PAGE.format(each, mark, PAGE) for each in (form, "NULL"))
    first = _FIRST_ID
    while page := _page(driver, whole, bare, first):
        yield page
        if page[-1][0] == _LAST_ID:
            return
        first = page[-1][0] + 1


def whole_rows(connection: Connection, page: Sequence[Place]) -> dict[int, Row]:
    """Returns the values of the records of a page, in the order of the table's columns, by id."""
    query = select(events).where(events.c.id.between(page[0][0], page[-1][0]))
    return {row[0]: tuple(row[1:]) for row in connection.execute(query)}


def is_exact(canonical: str | None) -> TypeGuard[str]:
    """Tells whether what the database laid out is the canonical form."""
    return canonical is not None and canonical.isascii() and _DELETE not in canonical


def _page(driver: Any, whole: str, bare: str, first: int) -> Sequence[Place]:
    if not isinstance(driver, sqlite3.Connection):
        found: Sequence[Place] = driver.execute(whole, (first,)).fetchall()
        return found
    any_text = driver.text_factory
    driver.text_factory = str
    try:
        return driver.execute(whole, (first,)).fetchall()
    except sqlite3.OperationalError:
        pass  # One of them holds text that is no UTF-8, or a blob.
    finally:
        driver.text_factory = any_text
    return driver.execute(bare, (first,)).fetchall()
