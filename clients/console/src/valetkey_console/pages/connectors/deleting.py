"""Deleting a connector: what goes with it is said first, and its name is to be typed."""

from starlette.responses import Response

from valetkey import ValetKeyError
from valetkey_console.broker.failures import Failure, failure_on_page
from valetkey_console.fields.parsing import wrong
from valetkey_console.pages.connectors.consequences import bound_to
from valetkey_console.pages.connectors.draft import text_of
from valetkey_console.visits.rendering import command
from valetkey_console.visits.visit import Visit

# Grants that are named; the list of grants has all.
_MOST_GRANTS = 10
_REMOVED = "Brokers that reach Vault stop using it within 5 seconds."


async def show(visit: Visit) -> Response:
    """Shows what would go with it, and the form."""
    return await _page(visit)


async def delete(visit: Visit) -> Response:
    """Deletes it, if its name was typed."""
    name = visit.name()
    try:
        if text_of(await visit.form(), "confirm") != name:
            raise wrong("confirm", f"this is not the name of the connector; expected {name}. Nothing was deleted")
        await visit.broker.delete_connector(name)
    except ValetKeyError as error:
        return await _page(visit, failure_on_page(error))
    return visit.redirect("/connectors", said=f"{name} is deleted. {_REMOVED}")


async def _page(visit: Visit, failure: Failure | None = None) -> Response:
    connector = await visit.broker.get_connector(visit.name())
    return visit.render(
        "connectors/delete.html",
        connector=connector,
        bound=await bound_to(visit, connector),
        failure=failure,
        most=_MOST_GRANTS,
        line=command("valetkey", "service-connector", "delete", of=connector.name),
    )
