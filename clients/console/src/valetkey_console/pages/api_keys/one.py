"""The page of one API key."""

from starlette.responses import Response

from valetkey import ApiKey, AsyncClient, NotFoundError
from valetkey_console.visits.visit import Visit


async def show_one(visit: Visit) -> Response:
    """Shows what is known of one key."""
    return visit.render("api_keys/one.html", key=await key_of(visit.broker, visit.name()))


async def key_of(broker: AsyncClient, name: str) -> ApiKey:
    """Returns a key by its name; the API lists them only. Raises NotFoundError."""
    for key in await broker.list_api_keys():
        if key.name == name:
            return key
    raise NotFoundError(f"there is no API key {name!r}; it may have been revoked meanwhile")
