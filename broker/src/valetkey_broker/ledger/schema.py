"""The tables of the ledger. Migrations make them; a test holds the two against each other."""

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, UniqueConstraint, and_, literal_column

HEAD_REVISION = "0004"
"""The migration that makes the tables as they stand here."""
VERSION_TABLE = "ledger_version"

metadata = MetaData()

# SQLite counts up by itself only in a column that is called INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")

events = Table(
    "ledger_events",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("writer", String, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("previous_hash", String, nullable=False),
    Column("hash", String, nullable=False),
    Column("kind", String, nullable=False),
    # Microseconds: a whole number comes back from any database as the one that was hashed.
    Column("time_us", BigInteger, nullable=False),
    Column("request_id", String, nullable=False),
    Column("method", String, nullable=False),
    Column("principal", String, nullable=False),
    Column("authentication", String, nullable=False),
    Column("peer", String, nullable=False),
    Column("object", String, nullable=False),
    Column("connector", String, nullable=False),
    Column("connector_uid", String, nullable=False),
    Column("credential_version", BigInteger, nullable=False),
    Column("resource", String, nullable=False),
    Column("permissions", String, nullable=False),
    Column("ttl", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("lease_id", String, nullable=False),
    Column("signature_sha256", String, nullable=False),
    Column("grant", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("count", BigInteger, nullable=False),
    # Taken from the resource, so that leases can be found by them.
    Column("account", String, nullable=False),
    Column("container", String, nullable=False),
    # Which canonical form was hashed, see chain.py. The defaults are those of records from before these columns, and of
    # a broker that does not know them and writes beside this one.
    Column("version", BigInteger, nullable=False, server_default="1"),
    # A JSON object of texts, its names in order; empty where there are none.
    Column("details", String, nullable=False, server_default=""),
    UniqueConstraint("writer", "sequence", name="ledger_events_place"),
    # A rowid that was used stays used: a removed record's id never comes back.
    sqlite_autoincrement=True,
)
# The indexes are in indexes.py. A query that is to use one on a part of the records has to repeat its condition.
IS_LEASE = events.c.lease_id != literal_column("''")
"""The condition of the indexes on leases."""

IS_NO_TOKEN = events.c.kind != literal_column("'token-issued'")
"""The condition of the index on kinds: nearly all records are of this one, which needs none."""

IS_REFUSED_RESOURCE = and_(events.c.lease_id == literal_column("''"), events.c.resource != literal_column("''"))
"""The condition of the index on what was asked for in vain. Were it one on the kind, SQLite would take that index."""

checkpoints = Table(
    "ledger_checkpoints",
    metadata,
    Column("writer", String, primary_key=True),
    # The last record that was pruned of this writer's chain.
    Column("sequence", BigInteger, nullable=False),
    Column("hash", String, nullable=False),
    Column("time_us", BigInteger, nullable=False),
)

probe = Table(
    "ledger_probe",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("time_us", BigInteger, nullable=False),
)
"""One row that is written to learn whether the database can be written again."""

COLUMNS = tuple(column.name for column in events.columns if column.name != "id")
"""The columns of a record in the order in which it is written."""

NUMBERS = frozenset(column.name for column in events.columns if not isinstance(column.type, String))
"""Those of them that hold whole numbers; the others hold texts."""
