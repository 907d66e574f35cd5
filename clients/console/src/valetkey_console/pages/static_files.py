"""Style sheet and scripts: what needs nobody to be logged in."""

from starlette.responses import FileResponse, PlainTextResponse, Response

from valetkey_console.visits.rendering import STATIC
from valetkey_console.visits.routing import Section, get
from valetkey_console.visits.visit import Visit

# A year: their addresses change with their content.
_LONG = {"Cache-Control": "public, max-age=31536000, immutable"}
_FILES = {each.name: each for each in STATIC.iterdir()}


async def file(visit: Visit) -> Response:
    """Returns one file of static/."""
    found = _FILES.get(visit.name())
    if found is None:
        return PlainTextResponse("There is no such file.\n", status_code=404)
    return FileResponse(found, headers=_LONG)


SECTION = Section("static-files", (get("/static/{name}", file, session=False),))
