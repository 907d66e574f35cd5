"""The list of what connectors reach; one that fails shows its error in a row of its own."""

from urllib.parse import urlencode

from starlette.responses import Response

from valetkey_console.lists.column_filters import choices, filtered
from valetkey_console.lists.columns import Column
from valetkey_console.pages.resources.rows import Reached, rows_of
from valetkey_console.visits.rendering import by_option, command
from valetkey_console.visits.roles import OPERATORS, READERS_OF_GRANTS, VIEWERS
from valetkey_console.visits.visit import Visit


def path_of(resource: str) -> str:
    """Returns the path of the page about a resource, by its id or URL."""
    return f"/resources/one?{urlencode({'resource': resource})}"


COLUMNS = (
    Column[Reached]("account", "Account", lambda row: row.account, look="code"),
    Column[Reached](
        "resource", "Resource", lambda row: row.resource_id, link=lambda row: path_of(row.url or ""), look="code"
    ),
    Column[Reached]("connector", "Connector", lambda row: row.connector, look="code"),
    Column[Reached]("type", "Type", lambda row: f"{row.connector_type} {row.resource_type}"),
    Column[Reached]("state", "State", lambda row: row.state, look="state"),
    Column[Reached]("problem", "Problem", lambda row: row.problem or None, seldom=True),
    Column[Reached]("reason", "Reason", lambda row: row.reason or None, look="code", seldom=True),
    Column[Reached]("url", "URL", lambda row: row.url, look="code"),
)
_FILTERS = ("account", "connector", "state")


async def show_list(visit: Visit) -> Response:
    """Shows what the person's connectors reach: all for who has a role, else what grants let one use."""
    asked = visit.asked(COLUMNS, sort="account", filters=_FILTERS)
    refresh = bool(visit.query.get("refresh")) and visit.may(VIEWERS)
    rows = rows_of(await visit.broker.list_resources(refresh=refresh))
    return visit.list_page(
        "resources/list.html",
        COLUMNS,
        filtered(rows, COLUMNS, asked.filters),
        asked,
        failed=sum(row.state == "failed" for row in rows),
        there=bool(rows),
        accounts=choices(row.account for row in rows),
        connectors=choices(row.connector for row in rows),
        may_refresh=visit.may(VIEWERS),
        reads_grants=visit.may(READERS_OF_GRANTS),
        may_register=visit.may(OPERATORS),
        line=command("valetkey", "service-connector", "list-resources", *by_option(asked.filters, "connector")),
    )
