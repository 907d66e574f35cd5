"""What pages say of themselves: their routes, and the sections of the console that these belong to."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import Response

from valetkey_console.visits.roles import EVERYBODY, Roles

if TYPE_CHECKING:
    from valetkey_console.visits.visit import Visit

Handler = Callable[["Visit"], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One address. Without `session` nobody needs to be logged in; `background` requests do not count as use."""

    path: str
    handler: Handler
    method: str = "GET"
    roles: Roles | None = None
    session: bool = True
    background: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the console: its routes, and its place in the navigation, `order` from left to right.

    `roles` hold for each route that names none of its own. Without a `title` it is not in the navigation.
    """

    name: str
    routes: tuple[Route, ...]
    title: str = ""
    path: str = ""
    order: int = 0
    roles: Roles = EVERYBODY


def get(
    path: str, handler: Handler, *, roles: Roles | None = None, session: bool = True, background: bool = False
) -> Route:
    """Returns the route of a page, or of a part of one."""
    return Route(path, handler, "GET", roles, session, background)


def post(path: str, handler: Handler, *, roles: Roles | None = None, session: bool = True) -> Route:
    """Returns the route of a form."""
    return Route(path, handler, "POST", roles, session)
