"""The first ledger: events, checkpoints of what was pruned, and the row that is written to try the database."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TEXTS_AND_NUMBERS = (
    ("writer", sa.String),
    ("sequence", sa.BigInteger),
    ("previous_hash", sa.String),
    ("hash", sa.String),
    ("kind", sa.String),
    ("time_us", sa.BigInteger),
    ("request_id", sa.String),
    ("method", sa.String),
    ("principal", sa.String),
    ("authentication", sa.String),
    ("peer", sa.String),
    ("object", sa.String),
    ("connector", sa.String),
    ("connector_uid", sa.String),
    ("credential_version", sa.BigInteger),
    ("resource", sa.String),
    ("permissions", sa.String),
    ("ttl", sa.BigInteger),
    ("expires", sa.BigInteger),
    ("lease_id", sa.String),
    ("signature_sha256", sa.String),
    ("grant", sa.String),
    ("reason", sa.String),
    ("purpose", sa.String),
    ("count", sa.BigInteger),
    ("account", sa.String),
    ("container", sa.String),
)


def upgrade() -> None:
    """Makes the tables."""
    schema = op.get_context().version_table_schema
    op.create_table(
        "ledger_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        *(sa.Column(name, kind, nullable=False) for name, kind in _TEXTS_AND_NUMBERS),
        sa.UniqueConstraint("writer", "sequence", name="ledger_events_place"),
        sqlite_autoincrement=True,
        schema=schema,
    )
    op.create_index("ledger_events_time", "ledger_events", ["time_us"], schema=schema)
    op.create_index("ledger_events_principal", "ledger_events", ["principal", "id"], schema=schema)
    op.create_index("ledger_events_connector", "ledger_events", ["connector", "id"], schema=schema)
    op.create_index("ledger_events_request", "ledger_events", ["request_id"], schema=schema)
    is_lease = sa.text("lease_id <> ''")
    for name, column in (("lease", "lease_id"), ("expires", "expires")):
        op.create_index(
            f"ledger_events_{name}",
            "ledger_events",
            [column],
            sqlite_where=is_lease,
            postgresql_where=is_lease,
            schema=schema,
        )
    op.create_table(
        "ledger_checkpoints",
        sa.Column("writer", sa.String, primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        schema=schema,
    )
    table = op.create_table(
        "ledger_probe",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        schema=schema,
    )
    op.bulk_insert(table, [{"id": 1, "time_us": 0}])
