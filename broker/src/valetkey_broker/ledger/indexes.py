"""The indexes of the ledger's tables. Migrations make them; a test holds the two against each other.

Apart from the tables, for only migrating needs them: what is said here of each kind of database loads the code for all
of them, which takes a twentieth of a broker's start.
"""

from sqlalchemy import Index

from valetkey_broker.ledger.schema import IS_LEASE, IS_NO_TOKEN, IS_REFUSED_RESOURCE, events, metadata

__all__ = ["metadata"]

Index("ledger_events_time", events.c.time_us)
Index("ledger_events_principal", events.c.principal, events.c.id)
Index("ledger_events_connector", events.c.connector, events.c.id)
Index("ledger_events_request", events.c.request_id)
for _name, _column in (("lease", "lease_id"), ("expires", "expires")):
    Index(f"ledger_events_{_name}", events.c[_column], sqlite_where=IS_LEASE, postgresql_where=IS_LEASE)

# An index with the id behind the column gives a page of what is rare without a look at what is not.
Index("ledger_events_container", events.c.container, events.c.id, sqlite_where=IS_LEASE, postgresql_where=IS_LEASE)
Index("ledger_events_kind", events.c.kind, events.c.id, sqlite_where=IS_NO_TOKEN, postgresql_where=IS_NO_TOKEN)

# What was refused is looked through for a resource, which costs a twentieth where no record has to be read for it.
_REFUSED = IS_REFUSED_RESOURCE
Index("ledger_events_refused", events.c.resource, events.c.id, sqlite_where=_REFUSED, postgresql_where=_REFUSED)
