"""Whose rights at the provider can be used to make a credential: connectors that log in as a service principal."""

from valetkey import Connector
from valetkey_console.pages.answer_or_failure import told
from valetkey_console.visits.visit import Visit

# A menu of more is no help; then the name is typed.
_MOST = 100


async def makers_for(visit: Visit, connector: Connector) -> list[str] | None:
    """Returns the names to choose of; None where there are too many, or where they cannot be had."""
    found = (await told(visit.broker.list_connectors(auth_method="service-principal", limit=_MOST + 2))).value
    names = None if found is None else [each.name for each in found if each.name != connector.name]
    return None if names is None or len(names) > _MOST else names
