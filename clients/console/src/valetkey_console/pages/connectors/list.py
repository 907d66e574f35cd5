"""The list of connectors."""

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
    Column[Connector]("error", "Error", _error, seldom=True),
    Column[Connector]("expires", "Credential expires", lambda each: each.expire_time, seldom=True),
    Column[Connector]("rotated", "Rotated every", rotated, seldom=True),
    Column[Connector]("labels", "Labels", lambda each: attributes(each.labels), seldom=True),
    Column[Connector]("description", "Description", lambda each: each.description, seldom=True),
)


async def show_list(visit: Visit) -> Response:
    """Shows all connectors, or those of a type, an auth method or a state."""
    asked = visit.asked(COLUMNS, sort="name", filters=_FILTERS)
    types = await visit.broker.list_connector_types()
    choices = {
        "type": sorted({each.type for each in types}),
        "auth_method": sorted({method.auth_method for each in types for method in each.auth_methods}),
        "state": STATES,
    }
    limit = asked.limit("name", "state")
    # What nobody could mean fits nothing; the broker would refuse it.
    kind, method = asked.filters["type"], asked.filters["auth_method"]
    meant = kind in ("", *choices["type"]) and method in ("", *choices["auth_method"])
    found = (
        await visit.broker.list_connectors(type=kind or None, auth_method=method or None, limit=limit) if meant else []
    )
    rows = [each for each in found if asked.filters["state"] in ("", state(each))]
    return visit.list_page(
        "connectors/list.html",
        COLUMNS,
        rows,
        asked,
        more=len(found) == limit,
        there=bool(found) or any(asked.filters.values()),
        operates=visit.may(OPERATORS),
        choices=choices,
        line=command("valetkey", "service-connector", "list", *by_option(asked.filters, "type", "auth_method")),
    )
