"""Grants: who may have what. The model of a list with a page for each of its things."""

from starlette.responses import Response

from valetkey import Grant
from valetkey_console.lists.columns import Column
from valetkey_console.visits.rendering import command, segment
from valetkey_console.visits.subjects import READERS_OF_GRANTS, Subject, get
from valetkey_console.visits.visit import Visit

COLUMNS = (
    Column[Grant]("name", "Name", lambda grant: grant.name, link=lambda grant: f"/grants/{segment(grant.name)}"),
    Column[Grant]("principals", "For", lambda grant: grant.principals, look="code"),
    Column[Grant]("containers", "Containers", lambda grant: grant.containers, look="code"),
    Column[Grant]("permissions", "Permissions", lambda grant: grant.permissions),
    Column[Grant]("connectors", "Connectors", lambda grant: tuple(each.name for each in grant.connectors)),
    Column[Grant]("expires", "Ends", lambda grant: grant.expire_time),
    Column[Grant]("note", "Note", lambda grant: grant.note),
)


async def show_list(visit: Visit) -> Response:
    """Shows all grants."""
    asked = visit.asked(COLUMNS, sort="name")
    grants = await visit.broker.list_grants()
    return visit.list_page("grants/list.html", COLUMNS, grants, asked, line=command("valetkey", "grant", "list"))


async def show_one(visit: Visit) -> Response:
    """Shows what one grant says."""
    grant = await visit.broker.get_grant(visit.name())
    line = command("valetkey", "grant", "show", grant.name)
    return visit.render("grants/detail.html", grant=grant, line=line)


SUBJECT = Subject(
    "grants",
    (get("/grants", show_list), get("/grants/{name}", show_one)),
    title="Grants",
    path="/grants",
    order=40,
    roles=READERS_OF_GRANTS,
)
