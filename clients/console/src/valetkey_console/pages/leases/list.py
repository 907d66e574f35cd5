"""The list of leases: the newest of those that the broker finds, and what the console filters among them."""

from dataclasses import replace

from starlette.responses import Response

from valetkey import Lease
from valetkey_console.lists.column_filters import filtered
from valetkey_console.lists.columns import Column
from valetkey_console.pages.resources.ids import container_of
from valetkey_console.pages.resources.list import path_of
from valetkey_console.visits.rendering import by_option, command, segment
from valetkey_console.visits.roles import OPERATORS, VIEWERS
from valetkey_console.visits.visit import Visit

# The broker has millions; so many are looked at, the newest, and the page says where there are more.
MOST = 1_000
STATES = ("live", "waiting", "revoking", "revoked", "ended")

COLUMNS = (
    Column[Lease](
        "id", "Lease", lambda lease: lease.id, link=lambda lease: f"/leases/{segment(lease.id)}", look="code"
    ),
    Column[Lease]("principal", "Principal", lambda lease: lease.principal, look="code who"),
    Column[Lease](
        "resource",
        "Resource",
        lambda lease: lease.resource,
        link=lambda lease: path_of(container_of(lease.resource)),
        look="code",
    ),
    Column[Lease]("permissions", "Permissions", lambda lease: lease.permissions),
    Column[Lease]("state", "State", lambda lease: lease.state, look="state"),
    Column[Lease]("issued", "Issued", lambda lease: lease.issue_time),
    Column[Lease]("expires", "Expires", lambda lease: lease.expire_time),
    Column[Lease](
        "grant", "Grant", lambda lease: lease.grant, link=lambda lease: f"/grants/{segment(lease.grant)}", look="code"
    ),
    Column[Lease](
        "connector",
        "Connector",
        lambda lease: lease.connector,
        link=lambda lease: f"/connectors/{segment(lease.connector)}",
        look="code",
    ),
    Column[Lease]("purpose", "Purpose", lambda lease: lease.purpose, seldom=True),
)
_ASKED_OF_BROKER = ("principal", "connector", "resource")
_FILTERS = (*_ASKED_OF_BROKER, "grant", "state", "ended")


async def show_list(visit: Visit) -> Response:
    """Shows the tokens that still live, with `ended` those that ended, too."""
    asked = visit.asked(COLUMNS, sort="-issued", filters=_FILTERS)
    filters = asked.filters
    named = {name: filters[name] or None for name in _ASKED_OF_BROKER}
    everything = bool(filters["ended"]) or filters["state"] in ("ended", "revoked")
    leases = await visit.broker.list_leases(include_expired=everything, limit=MOST, **named)
    own = {name: filters[name] for name in ("grant", "state")}
    # Auditors see leases, and no connectors.
    columns = (
        COLUMNS
        if visit.may(VIEWERS)
        else [replace(each, link=None) if each.key == "connector" else each for each in COLUMNS]
    )
    words = ["valetkey", "lease", "list", *(["--all"] if everything else [])]
    words += by_option(filters, *_ASKED_OF_BROKER)
    return visit.list_page(
        "leases/list.html",
        columns,
        filtered(leases, COLUMNS, own),
        asked,
        cut=len(leases) >= MOST,
        there=bool(leases) or any(filters.values()),
        states=STATES,
        most=MOST,
        may_revoke=visit.may(OPERATORS),
        line=command(*words),
    )
