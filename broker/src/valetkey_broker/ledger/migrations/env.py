"""Alembic's entry: runs the migrations in the transaction that the broker has opened."""

from alembic import context

from valetkey_broker.ledger.engines import schema_of
from valetkey_broker.ledger.indexes import metadata
from valetkey_broker.ledger.schema import VERSION_TABLE

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # The search path does not lead to it. A step takes it from here, too.
    version_table_schema=schema_of(connection),
)
context.run_migrations()
