"""The list of API keys."""

from starlette.responses import Response

from valetkey import ApiKey
from valetkey_console.lists.columns import Column
from valetkey_console.visits.rendering import command, segment
from valetkey_console.visits.visit import Visit

COLUMNS = (
    Column[ApiKey]("name", "Name", lambda key: key.name, link=lambda key: f"/api-keys/of/{segment(key.name)}"),
    Column[ApiKey]("principal", "Principal", lambda key: f"key:{key.name}", look="code"),
    Column[ApiKey]("roles", "Roles", lambda key: key.roles),
    Column[ApiKey]("expires", "Expires", lambda key: key.expire_time),
    Column[ApiKey]("created", "Created", lambda key: key.create_time),
    Column[ApiKey]("created_by", "Created by", lambda key: key.created_by, look="code who"),
    Column[ApiKey]("rotated", "Rotated", lambda key: key.rotate_time, seldom=True),
    Column[ApiKey]("before", "Old key valid until", lambda key: key.overlap_end_time, seldom=True),
)


async def show_list(visit: Visit) -> Response:
    """Shows all API keys; nobody can show the keys themselves."""
    asked = visit.asked(COLUMNS, sort="name")
    keys = await visit.broker.list_api_keys()
    line = command("valetkey", "api-key", "list")
    return visit.list_page("api_keys/list.html", COLUMNS, keys, asked, line=line)
