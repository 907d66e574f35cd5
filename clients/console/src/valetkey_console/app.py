"""The console put together: its pages, and around them what every request has to pass."""

import contextlib
from collections.abc import AsyncIterator, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from valetkey_console.broker.failures import Failure
from valetkey_console.pages import SECTIONS
from valetkey_console.safety.access_log import AccessLog
from valetkey_console.safety.bodies import SmallBodies
from valetkey_console.safety.headers import SafeHeaders
from valetkey_console.safety.origin import OwnOrigin
from valetkey_console.settings import Settings
from valetkey_console.visits.console import Console
from valetkey_console.visits.endpoint import endpoint
from valetkey_console.visits.routing import Section
from valetkey_console.visits.visit import Visit

_NOWHERE = Failure("There is no such page", "Nothing of the console has this address.", "Begin at the overview.", 404)
_WRONG_METHOD = Failure("There is no such page", "This address does not take that.", "Begin at the overview.", 405)


def console_app(settings: Settings, sections: Sequence[Section] = SECTIONS) -> ASGIApp:
    """Returns the console as an ASGI application. Raises SettingsError, of ours or of `valetkey`."""
    console = Console(settings, sections)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await console.clients.close()

    def no_page(failure: Failure) -> object:
        async def answer(request: Request, _error: Exception) -> Response:
            visit = Visit(request, console, Section("none", ()))
            visit.session = console.sessions.find(request.cookies).session
            return visit.fail(failure)

        return answer

    pages = Starlette(
        routes=[
            StarletteRoute(route.path, endpoint(console, section, route), methods=[route.method])
            for section in console.sections
            for route in section.routes
        ],
        exception_handlers={404: no_page(_NOWHERE), 405: no_page(_WRONG_METHOD)},  # type: ignore[dict-item]
        lifespan=lifespan,
    )
    # It would send to a Host header's host.
    pages.router.redirect_slashes = False
    safe = OwnOrigin(SmallBodies(BasePath(pages, settings.base_path)), settings.origins, settings.hosts)
    return AccessLog(SafeHeaders(safe, tls=settings.address.startswith("https:")))


class BasePath:
    """Takes paths with and without the base path: some proxies take it away, and some leave it."""

    def __init__(self, app: ASGIApp, base_path: str) -> None:
        self._app = app
        self._base_path = base_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "root_path": self._base_path} if scope["type"] == "http" else scope, receive, send)
