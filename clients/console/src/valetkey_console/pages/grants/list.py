"""The list of grants: search, and those that reach a container."""

from starlette.responses import Response

from valetkey import Grant
from valetkey_console.lists.columns import Column
from valetkey_console.pages.grant_patterns import reaches
from valetkey_console.visits.rendering import attributes, command, segment
from valetkey_console.visits.roles import ADMINS
from valetkey_console.visits.visit import Visit

COLUMNS = (
    Column[Grant]("name", "Name", lambda grant: grant.name, link=lambda grant: f"/grants/{segment(grant.name)}"),
    Column[Grant](
        "principals", "Principals", lambda grant: grant.principals + attributes(grant.attributes), look="code who"
    ),
    Column[Grant]("containers", "Containers", lambda grant: grant.containers, look="code"),
    Column[Grant]("prefixes", "Path prefixes", lambda grant: grant.prefixes or None, look="code", seldom=True),
    Column[Grant]("permissions", "Permissions", lambda grant: grant.permissions),
    Column[Grant]("connectors", "Connectors", lambda grant: tuple(each.name for each in grant.connectors)),
    Column[Grant]("expires", "Expires", lambda grant: grant.expire_time, seldom=True),
    Column[Grant]("note", "Note", lambda grant: grant.note, seldom=True),
)


async def show_list(visit: Visit) -> Response:
    """Shows all grants, or those whose containers take in the one that is named."""
    asked = visit.asked(COLUMNS, sort="name", filters=("container",))
    limit = asked.limit("name", "container")
    grants = await visit.broker.list_grants(limit=limit)
    container = asked.filters["container"].removeprefix("az://").partition("/")[0]
    shown = [each for each in grants if not container or any(reaches(one, container) for one in each.containers)]
    return visit.list_page(
        "grants/list.html",
        COLUMNS,
        shown,
        asked,
        more=len(grants) == limit,
        there=bool(grants),
        may_grant=visit.may(ADMINS),
        line=command("valetkey", "grant", "list"),
    )
