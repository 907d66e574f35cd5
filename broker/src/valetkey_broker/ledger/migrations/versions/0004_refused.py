"""An index for who was refused a resource; issued tokens, which nearly all records are of, are not in it.

On PostgreSQL, making an index keeps writers waiting. Who has hundreds of millions of records makes it beforehand,
CONCURRENTLY, under the same name.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Makes the index, if it is not there yet."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL statement_timeout = 0")
    where = sa.text("lease_id = '' AND resource <> ''")
    op.create_index(
        "ledger_events_refused",
        "ledger_events",
        ["resource", "id"],
        if_not_exists=True,
        sqlite_where=where,
        postgresql_where=where,
        schema=op.get_context().version_table_schema,
    )
