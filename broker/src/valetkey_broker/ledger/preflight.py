"""Tells whether a broker could open its ledger, without making or changing anything."""

import os

from valetkey_broker.errors import ConfigurationError
from valetkey_broker.ledger.database import Database, explain
from valetkey_broker.ledger.errors import cause_of
from valetkey_broker.settings import LedgerSettings


def check_ledger(settings: LedgerSettings) -> str:
    """Returns a warning where a broker would start and wait for its database, otherwise "".

    Raises ConfigurationError where a broker could not start with this ledger.
    """
    database = Database(settings.watched_url(), settings.timeout_seconds)
    try:
        if database.is_sqlite:
            _check_writable(database)
        if not database.is_sqlite or database.path.exists():
            with database.reading() as connection:
                database.revision(connection)
    except database.errors as error:
        if cause_of(error) != "database-away":
            raise explain(database, error) from None
        return f"the ledger {database.name} does not answer; a broker waits for it, and issues nothing until it does"
    finally:
        database.close()
    return ""


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
