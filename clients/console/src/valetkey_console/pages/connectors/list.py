"""The list of connectors."""

from collections.abc import Mapping
from datetime import UTC, datetime

from starlette.responses import Response

from valetkey import Connector
from valetkey_console.lists.columns import Column
from valetkey_console.visits.rendering import attributes, by_option, command, segment, span
from valetkey_console.visits.roles import OPERATORS
from valetkey_console.visits.visit import Visit

STATES = ("ok", "unverified", "expired", "unhealthy")
_FILTERS = ("type", "auth_method", "state")


def state(connector: Connector) -> str:
    """Returns the worst that is known of a connector: one of STATES."""
    if connector.health is not None and not connector.health.healthy:
        return "unhealthy"
    if connector.expired(datetime.now(UTC)):
        return "expired"
    return "unverified" if connector.unverified else "ok"


def rotated(connector: Connector) -> str:
    """Returns how often the credential is rotated by itself, in words; empty where it is not."""
    schedule = connector.rotation_schedule
    if schedule is None:
        return ""
    return span(schedule.every) + (f", by {schedule.by}" if schedule.by else "")


def _error(connector: Connector) -> str | None:
    health = connector.health
    return None if health is None or health.healthy else health.message


COLUMNS = (
    Column[Connector]("name", "Name", lambda each: each.name, link=lambda each: f"/connectors/{segment(each.name)}"),
    Column[Connector]("state", "State", state, look="state"),
    Column[Connector]("type", "Type", lambda each: each.type),
    Column[Connector]("auth_method", "Auth method", lambda each: each.auth_method),
    Column[Connector]("serves", "Serves", lambda each: each.resource_id or "everything it reaches", look="code"),
    Column[Connector]("error", "Error", _error),
    Column[Connector]("expires", "Credential expires", lambda each: each.expire_time),
    Column[Connector]("rotated", "Rotated every", rotated),
    Column[Connector]("labels", "Labels", lambda each: attributes(each.labels)),
    Column[Connector]("description", "Description", lambda each: each.description),
)
# Most connectors have none of it: then nobody needs the column on a page. Files have them all.
_SELDOM = ("error", "expires", "rotated", "labels", "description")


async def show_list(visit: Visit) -> Response:
    """Shows all connectors, or those of a type, an auth method or a state."""
    asked = visit.asked(COLUMNS, sort="name", filters=_FILTERS)
    everything = await visit.broker.list_connectors()
    rows = [each for each in everything if _fits(each, asked.filters)]
    columns = COLUMNS if asked.download else [each for each in COLUMNS if _needed(each, rows)]
    return visit.list_page(
        "connectors/list.html",
        columns,
        rows,
        asked,
        there=len(everything),
        operates=visit.may(OPERATORS),
        choices={
            "type": sorted({each.type for each in everything}),
            "auth_method": sorted({each.auth_method for each in everything}),
            "state": STATES,
        },
        line=command("valetkey", "service-connector", "list", *by_option(asked.filters, "type", "auth_method")),
    )


def _fits(connector: Connector, filters: Mapping[str, str]) -> bool:
    wanted_state = filters["state"]
    return (
        filters["type"] in ("", connector.type)
        and filters["auth_method"] in ("", connector.auth_method)
        and (not wanted_state or state(connector) == wanted_state)
    )


def _needed(column: Column[Connector], rows: list[Connector]) -> bool:
    return column.key not in _SELDOM or any(column.value(each) for each in rows)
