"""Brings a ledger to what this broker needs, ahead of the broker: `valetkey-broker migrate`."""

from sqlalchemy import Connection, text

from valetkey_broker.errors import ConfigurationError
from valetkey_broker.ledger.database import Database, explain, take_turn
from valetkey_broker.ledger.engines import table_prefix
from valetkey_broker.ledger.schema import HEAD_REVISION, VERSION_TABLE
from valetkey_broker.settings import LedgerSettings

# What a broker needs on PostgreSQL, and nothing with which it could change what it has written; see docs/ledger.md.
_TABLES = ("ledger_events", "ledger_checkpoints", "ledger_probe", VERSION_TABLE)
_GRANTS = (
    "GRANT SELECT, INSERT ON {0}ledger_events TO {role}",
    "GRANT USAGE ON SEQUENCE {0}ledger_events_id_seq TO {role}",
    f"GRANT SELECT ON {{0}}ledger_checkpoints, {{0}}{VERSION_TABLE}, {{0}}ledger_probe TO {{role}}",
    "GRANT UPDATE ON {0}ledger_probe TO {role}",
)


def migrate_ledger(settings: LedgerSettings, grant_to: str = "") -> str:
    """Makes or changes the tables, and returns what there is now, for people; does nothing where nothing is to do.

    On PostgreSQL, `grant_to` is the role that brokers log in as: it gets what they need, and loses what it had of these
    tables beyond that. Several that start at once take turns. Raises ConfigurationError where the database does not
    answer, is too new a broker's, or refuses.
    """
    database = Database(settings.watched_url(), settings.timeout_seconds)
    try:
        if grant_to and database.is_sqlite:
            raise ConfigurationError(f"the ledger {database.name} is a file: --grant-to is for PostgreSQL")
        version = database.migrate()
        if grant_to:
            with database.changing() as connection:
                _grant(connection, grant_to)
    except database.errors as error:
        raise explain(database, error) from None
    finally:
        database.close()
    granted = f"; {grant_to} may add to it and read it" if grant_to else ""
    newer = f", to which a newer broker added; this one needs {HEAD_REVISION}" if version != HEAD_REVISION else ""
    return f"the ledger {database.name} has the tables of version {version}{newer}{granted}"


def _grant(connection: Connection, role: str) -> None:
    take_turn(connection)  # PostgreSQL refuses who changes the rights on a table while another one does.
    found = connection.execute(text("SELECT rolsuper FROM pg_roles WHERE rolname = :role"), {"role": role}).scalar()
    if found is None:
        raise ConfigurationError(f"--grant-to: the database has no role {role!r}; make it, with a login of its own")
    owners = text("SELECT 1 FROM pg_tables WHERE tablename = ANY(:tables) AND tableowner = :role")
    if found or connection.execute(owners, {"tables": list(_TABLES), "role": role}).scalar() is not None:
        raise ConfigurationError(
            f"--grant-to: {role!r} owns the tables, or is a superuser, and could change them; migrate as another"
        )
    quoted = connection.dialect.identifier_preparer.quote_identifier(role)
    prefix = table_prefix(connection)
    connection.exec_driver_sql(f"REVOKE ALL ON {', '.join(prefix + name for name in _TABLES)} FROM {quoted}")
    for grant in _GRANTS:
        connection.exec_driver_sql(grant.format(prefix, role=quoted))
