"""The answer to probes: the process lives."""

from starlette.responses import PlainTextResponse, Response

from valetkey_console.visits.routing import Section, get
from valetkey_console.visits.visit import Visit


async def alive(_visit: Visit) -> Response:
    """Says that the console serves; of the broker it says nothing."""
    return PlainTextResponse("ok\n")


SECTION = Section("liveness-probe", (get("/healthz", alive, session=False),))
