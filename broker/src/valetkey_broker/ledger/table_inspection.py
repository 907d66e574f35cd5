"""What the database tells of the ledger's tables: whether records are read from them as they were written."""

from sqlalchemy import Connection, text

from valetkey_broker.ledger.database import Database
from valetkey_broker.ledger.engines import schema_of
from valetkey_broker.ledger.schema import checkpoints, events

_READ_BY_CHECKS = (events, checkpoints)
_SQLITE_LAST_ID = "SELECT seq FROM sqlite_sequence WHERE name = 'ledger_events'"
# Neither views nor virtual tables have a first page.
_SQLITE_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0"
_POSTGRES_LAST_ID = (
    "SELECT CASE WHEN has_sequence_privilege(s, 'USAGE, SELECT') THEN pg_sequence_last_value(s::regclass) END "
    "FROM pg_get_serial_sequence(quote_ident(:schema) || '.ledger_events', 'id') AS s"
)
# Its policies, rules and heirs can let a table show other rows than it holds. A check goes by the primary key: without
# it two records could have one id, or none.
_POSTGRES_COLUMNS = """
SELECT c.relname, a.attname, a.atttypid, EXISTS (
  SELECT FROM pg_catalog.pg_index k
  WHERE k.indrelid = c.oid AND k.indisprimary AND k.indisvalid AND a.attnum = ANY (k.indkey) AND a.attnotnull
)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = :schema)
AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
AND NOT pg_catalog.row_security_active(c.oid)
AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid)
AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)
"""
# The numbers that PostgreSQL has given to them for good: a name can be another type's.
_POSTGRES_TYPES = {"BIGINT": 20, "VARCHAR": 1043}
_CACHE_OF_A_CHECK = -32 * 1024  # KiB, as SQLite writes it


def last_id(database: Database, connection: Connection) -> int | None:
    """Returns the last id that the database gave to a record; None where it cannot tell."""
    query = (
        text(_SQLITE_LAST_ID)
        if database.is_sqlite
        else text(_POSTGRES_LAST_ID).bindparams(schema=schema_of(connection))
    )
    found = connection.execute(query).scalar()
    return found if isinstance(found, int) else None


def index_errors(database: Database, connection: Connection) -> str:
    """Returns what SQLite finds wrong with the table of records and its indexes, empty where nothing is.

    Lists find records by indexes, which somebody who can write to the file can make forget some. PostgreSQL lets
    nobody but its superuser do so.
    """
    if not database.is_sqlite:
        return ""
    # It goes from record to record and looks each up in every index, whose pages would leave the memory that SQLite
    # takes by itself again and again.
    usual = connection.execute(text("PRAGMA cache_size")).scalar_one()
    connection.execute(text(f"PRAGMA cache_size = {_CACHE_OF_A_CHECK}"))
    try:
        found = connection.execute(text("PRAGMA integrity_check(ledger_events)")).scalars().first()
    finally:
        connection.execute(text(f"PRAGMA cache_size = {usual}"))
    return "" if found == "ok" else str(found)


def is_stored(database: Database, connection: Connection) -> bool:
    """Tells whether what checks read is stored in tables, in columns of the types that the broker gave them.

    Somebody who can alter them can put a view or a computed column there, which shows other values to a check than to a
    list, by the time of day for instance, a type whose values are laid out as others are, or records without a key,
    which a check would not come by. Columns that a newer broker added are not looked at.
    """
    return _sqlite_is_stored(connection) if database.is_sqlite else _postgres_is_stored(connection)


def _sqlite_is_stored(connection: Connection) -> bool:
    tables = set(connection.execute(text(_SQLITE_TABLES)).scalars())
    for table in _READ_BY_CHECKS:
        # The statement, not the function of the same name: somebody could have made a table of that name.
        columns = connection.execute(text(f"PRAGMA main.table_xinfo({table.name})"))
        stored = {(found.name, found.type, found.pk) for found in columns if found.hidden == 0}
        wanted = {(each.name, each.type.compile(connection.dialect), int(each.primary_key)) for each in table.columns}
        if table.name not in tables or not wanted <= stored:
            return False
    return True


def _postgres_is_stored(connection: Connection) -> bool:
    found = connection.execute(text(_POSTGRES_COLUMNS), {"schema": schema_of(connection)})
    wanted = {
        (table.name, column.name, _POSTGRES_TYPES[column.type.compile(connection.dialect)], column.primary_key)
        for table in _READ_BY_CHECKS
        for column in table.columns
    }
    return wanted <= {(table, column, int(number), bool(key)) for table, column, number, key in found}
