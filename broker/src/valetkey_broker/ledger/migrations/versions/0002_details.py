"""The version of a record's canonical form, and its details.

Nothing is rewritten: the records that are there get the defaults, which say that they are of the first form.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the two columns."""
    schema = op.get_context().version_table_schema
    op.add_column(
        "ledger_events", sa.Column("version", sa.BigInteger, nullable=False, server_default="1"), schema=schema
    )
    op.add_column("ledger_events", sa.Column("details", sa.String, nullable=False, server_default=""), schema=schema)
