"""Alembic's entry: runs the migrations in the transaction that the broker has opened."""

from alembic import context

from valetkey_broker.ledger.indexes import metadata
from valetkey_broker.ledger.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
context.run_migrations()
