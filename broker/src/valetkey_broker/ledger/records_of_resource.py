"""Which records are about a resource: tokens by the URL they are for, refusals by the id that was asked for."""

import re
from typing import Protocol

from sqlalchemy import ColumnElement

from valetkey_broker.ledger.schema import events
from valetkey_broker.model import InvalidFieldError, ResourceId

# Of a request for many tokens the first one's resource is on record, and how many there were besides.
_MORE = re.compile(r" and \d+ more\Z")


class Place(Protocol):
    """What LeaseFilter and EventFilter say of a resource."""

    @property
    def container(self) -> str:
        """A container's name."""
        ...

    @property
    def account(self) -> str:
        """Its account; empty for any."""
        ...

    @property
    def path(self) -> str:
        """One blob in it, a directory with all below it (with a slash at its end), or empty for everything."""
        ...


def in_place(wanted: Place) -> list[ColumnElement[bool]]:
    """Returns the conditions for account and path of an issued token; that for the container has an index."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.account:
        conditions.append(events.c.account == wanted.account)
    if wanted.path:
        # What stands before it is the container's URL, of whatever host.
        place = f"/{wanted.container}/{wanted.path}"
        below = wanted.path.endswith("/")
        matches = events.c.resource.contains if below else events.c.resource.endswith
        conditions.append(matches(place, autoescape=True))
    return conditions


def names(asked: str, wanted: Place) -> bool:
    """Tells whether what a caller asked for, in any accepted spelling, lies in the place."""
    try:
        said = ResourceId.parse(_MORE.sub("", asked))
    except InvalidFieldError:
        return False
    if said.container != wanted.container or (wanted.account and said.account not in (None, wanted.account)):
        return False
    path = f"{said.prefix}/" if said.directory else said.prefix
    return not wanted.path or (path.startswith(wanted.path) if wanted.path.endswith("/") else path == wanted.path)
