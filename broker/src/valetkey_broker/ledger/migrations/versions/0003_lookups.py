"""Indexes for what a large ledger is asked: leases of a container, and the kinds of record that are few.

On PostgreSQL, making an index keeps writers waiting. Who has hundreds of millions of records makes these beforehand,
CONCURRENTLY, under the same names.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Makes the indexes that are not there yet."""
    schema = op.get_context().version_table_schema
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL statement_timeout = 0")
    for name, column, condition in (
        ("ledger_events_container", "container", "lease_id <> ''"),
        ("ledger_events_kind", "kind", "kind <> 'token-issued'"),
    ):
        where = sa.text(condition)
        op.create_index(
            name,
            "ledger_events",
            [column, "id"],
            if_not_exists=True,
            sqlite_where=where,
            postgresql_where=where,
            schema=schema,
        )
