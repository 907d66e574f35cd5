"""Tells whether a broker could open its ledger, without making or changing anything."""

import os

from sqlalchemy import Connection, text

from valetkey_broker.errors import ConfigurationError
from valetkey_broker.ledger.database import Database, explain
from valetkey_broker.ledger.engines import schema_of
from valetkey_broker.ledger.errors import cause_of
from valetkey_broker.settings import LedgerSettings

# `public` is everybody here: https://www.postgresql.org/docs/current/functions-info.html
_OPEN_TO_ALL = text(
    "SELECT has_database_privilege('public', current_database(), 'CONNECT') "
    "AND has_schema_privilege('public', :schema, 'USAGE')"
)


def check_ledger(settings: LedgerSettings) -> str:
    """Returns a warning, otherwise "".

    That is where a broker would start and wait for its database, or where everybody with a login could hold it up.

    Raises ConfigurationError where a broker could not start with this ledger.
    """
    database = Database(settings.watched_url(), settings.timeout_seconds)
    try:
        if database.is_sqlite:
            _check_writable(database)
        if not database.is_sqlite or database.path.exists():
            with database.reading() as connection:
                database.revision(connection)
                return "" if database.is_sqlite else _open_to_all(database, connection)
    except database.errors as error:
        if cause_of(error) != "database-away":
            raise explain(database, error) from None
        return f"the ledger {database.name} does not answer; a broker waits for it, and issues nothing until it does"
    finally:
        database.close()
    return ""


def _open_to_all(database: Database, connection: Connection) -> str:
    # Who may connect and name a table can be in the brokers' way: see docs/adr/0022.
    schema = schema_of(connection)
    if schema is None or not connection.execute(_OPEN_TO_ALL, {"schema": schema}).scalar():
        return ""
    return (
        f"everybody with a login may connect to the database of the ledger {database.name} and name its tables, and "
        "so can hold up all issuing; let its owner run REVOKE CONNECT ON DATABASE … FROM PUBLIC, and grant it to the "
        "broker's role"
    )


def _check_writable(database: Database) -> None:
    directory = database.path.parent
    if not directory.is_dir():
        raise explain(database, FileNotFoundError())
    for place in (directory, database.path):
        if place.exists() and not os.access(place, os.W_OK):
            raise ConfigurationError(
                f"the ledger {database.name} cannot be opened: this user may not write to {place}; give the broker's "
                "user a directory of its own, or name another file in ledger.url"
            )
