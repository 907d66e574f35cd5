"""Records as a check of all of them reads them: in pages by id, each as one line that begins with its canonical form.

Values that come out of the database one by one cost more than all else that a check does. So SQLite lays them out as
JSON, and PostgreSQL as CSV, in which every text is in quotes: the same to the byte, where nothing has to be escaped.
What may differ from the form that Python makes is not passed on: there stands the record's id instead, and whoever
checks that record makes the form by `chain.hash_of`.

Nothing that others define answers for the ledger. In SQLite only a connection defines functions, for itself. On
PostgreSQL others who use the database can, such that theirs fit the types of the columns better than the built-in ones
of the same name; COPY looks for none: how it writes a value hangs on the column's type alone.
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, select

from valetkey_broker.ledger.chain import FIRST_FORM, FORM_COLUMNS, FORM_NAME, Row
from valetkey_broker.ledger.database import Database
from valetkey_broker.ledger.engines import plain_table_prefix
from valetkey_broker.ledger.schema import NUMBERS, events

Place: TypeAlias = bytes | int
"""A record's line, or its id.

A line is a JSON array in ASCII: the name of the present form, its columns, and, behind those, the hash before, the
record's own, the version and the id.
"""

PAGE = 1000
_FIRST_ID, _LAST_ID = -(2**63), 2**63 - 1
# Python escapes it; SQLite writes it as it is, and escapes all else in ASCII as Python does.
_DELETE = b"\x7f"
_PRINTABLE = bytes(range(0x20, 0x7F))
_BESIDE = ("previous_hash", "hash", "version", "id")
_COLUMNS = (*FORM_COLUMNS, *_BESIDE)
_TEXTS = [name for name in _COLUMNS if name not in NUMBERS and name != "id"]
_NAMES, _QUOTED = (", ".join(f'"{name}"' for name in names) for names in (_COLUMNS, ("form", *_TEXTS)))
_QUOTES = 2 * (len(_TEXTS) + 1)
_SQLITE = f"SELECT {{}} FROM ledger_events WHERE id >= ? ORDER BY id LIMIT {PAGE}"  # noqa: S608 (our constants)
# It tells numbers and texts apart, so that no value passes for another one that looks alike. A blob is left out: newer
# versions of SQLite take some for JSON in a form of their own. It is greater than any text, and NULL makes this NULL.
_SQLITE_LINES = _SQLITE.format(
    f"CASE typeof(max({_NAMES})) WHEN 'text' THEN json_array('{FORM_NAME}', {_NAMES}) ELSE id END"
)
_POSTGRES_LINES = (
    f"COPY (SELECT '{FORM_NAME}' AS form, {_NAMES} FROM {{}}ledger_events "  # noqa: S608 (our constants)
    f"WHERE id >= '{{}}'::int8 ORDER BY id LIMIT {PAGE}) TO STDOUT "
    f"(FORMAT csv, FORCE_QUOTE ({_QUOTED}))"
)
_NAMED = f'["{FORM_NAME}",'.encode()
_NAMED_FIRST = f'["{FIRST_FORM}",'.encode()
_WITHOUT_DETAILS = b',""'


def pages(database: Database, connection: Connection) -> Iterator[Sequence[Place]]:
    """Yields all records by id, PAGE at a time. `connection` is in a transaction, which sees one moment."""
    driver: Any = connection.connection.driver_connection
    prefix = plain_table_prefix(connection)
    first = _FIRST_ID
    while page := _sqlite_page(driver, first) if database.is_sqlite else _postgres_page(driver, prefix, first):
        yield page
        last = id_of(page[-1])
        if last == _LAST_ID:
            return
        first = last + 1


def id_of(place: Place) -> int:
    """Returns the id of a record."""
    return place if isinstance(place, int) else int(place[place.rindex(b",") + 1 : -1])


def whole_rows(connection: Connection, ids: Sequence[int]) -> dict[int, Row]:
    """Returns the values of these records, in the order of the table's columns, by id."""
    query = select(events).where(events.c.id.in_(ids))
    return {row[0]: tuple(row[1:]) for row in connection.execute(query)}


def of_first_form(form: bytes) -> bytes:
    """Returns what a line begins with, for a record of the first form; empty where that does not cover it."""
    if not form.endswith(_WITHOUT_DETAILS):
        return b""
    return _NAMED_FIRST + form[len(_NAMED) : -len(_WITHOUT_DETAILS)]


def _sqlite_page(driver: Any, first: int) -> Sequence[Place]:
    any_text = driver.text_factory
    driver.text_factory = bytes
    try:
        page = [place for (place,) in driver.execute(_SQLITE_LINES, (first,))]
    finally:
        driver.text_factory = any_text
    if _is_exact(b"".join(place for place in page if place.__class__ is bytes)):
        return page
    return [place if isinstance(place, int) or _is_exact(place) else id_of(place) for place in page]


def _is_exact(lines: bytes) -> bool:
    return lines.isascii() and _DELETE not in lines


def _postgres_page(driver: Any, prefix: str, first: int) -> Sequence[Place]:
    with driver.cursor().copy(_POSTGRES_LINES.format(prefix, first)) as copied:
        rows = [bytes(row)[:-1] for row in copied]
    lines = [b"[%b]" % row for row in rows]
    if _is_plain(b"".join(rows)) and all(row.count(b'"') == _QUOTES for row in rows):
        return lines
    return [line if _is_plain(line) and line.count(b'"') == _QUOTES else id_of(line) for line in lines]


def _is_plain(text: bytes) -> bool:
    return not text.translate(None, _PRINTABLE) and b"\\" not in text
