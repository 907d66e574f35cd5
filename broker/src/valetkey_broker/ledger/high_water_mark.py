"""Up to which id nothing is added to the ledger any more, so that who goes on from there misses no record."""

import time

from sqlalchemy import Connection, func, select, text

from valetkey_broker.ledger.database import Database
from valetkey_broker.ledger.engines import plain_table_prefix
from valetkey_broker.ledger.schema import events

_AGAIN_SECONDS = 0.005
# An INSERT locks its table in this mode before it takes an id, until its transaction has ended. Others can come to hold
# it, too, without a right to INSERT. Who cannot have that right holds nobody up: neither the login itself, nor a role
# that it may take on. A login that was dropped meanwhile may go on as one of those, so it counts.
# The mode: https://www.postgresql.org/docs/current/explicit-locking.html
_WRITING = text("""
SELECT held.virtualtransaction FROM pg_locks AS held JOIN pg_stat_activity AS who ON who.pid = held.pid
WHERE held.locktype = 'relation' AND held.mode = 'RowExclusiveLock' AND held.granted
AND held.relation = to_regclass(:table)::oid
AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND (has_any_column_privilege(who.usesysid, held.relation, 'INSERT')
  OR who.usesysid NOT IN (SELECT oid FROM pg_roles)
  OR EXISTS (SELECT FROM pg_roles AS other WHERE pg_has_role(who.usesysid, other.oid, 'MEMBER')
    AND has_any_column_privilege(other.oid, held.relation, 'INSERT')))
""")


def high_water_mark(database: Database) -> int:
    """Returns an id up to which nothing is added any more.

    PostgreSQL gives ids to transactions before they commit, so that a smaller one can turn up after a greater one; but
    not after the transactions that were writing when the greater one was seen have ended. SQLite writes one at a time.
    Raises TimeoutError where one of those does not end in time.
    """
    newest = select(func.coalesce(func.max(events.c.id), 0))
    if database.is_sqlite:
        with database.reading() as connection:
            return int(connection.execute(newest).scalar_one())
    deadline = time.monotonic() + database.timeout
    with database.reading_each() as connection:
        horizon = int(connection.execute(newest).scalar_one())
        writing = _writing(connection)
        while writing:
            if time.monotonic() > deadline:
                raise TimeoutError("a transaction that writes to the ledger does not end")
            time.sleep(_AGAIN_SECONDS)
            writing &= _writing(connection)
    return horizon


def _writing(connection: Connection) -> set[str]:
    """Returns the transactions that may have taken an id and not shown its record yet."""
    table = f"{plain_table_prefix(connection)}{events.name}"
    return set(connection.execute(_WRITING, {"table": table}).scalars())
