"""What the console is about: sections with their routes, and who may see them.

The broker decides who may do what; these roles are its own (docs/grants.md), and only keep what is refused anyway out
of people's way.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from valetkey_console.visits.visit import Visit

Handler = Callable[["Visit"], Awaitable[Response]]
Roles = frozenset[str]

EVERYBODY: Roles = frozenset()
ADMINS: Roles = frozenset({"admin"})
OPERATORS: Roles = frozenset({"admin", "operator"})
VIEWERS: Roles = frozenset({"admin", "operator", "viewer"})
AUDITORS: Roles = frozenset({"admin", "auditor"})
READERS_OF_GRANTS: Roles = frozenset({"admin", "operator", "auditor"})


def may(roles: Collection[str], allowed: Roles) -> bool:
    """Tells whether somebody with `roles` is among the `allowed`; EVERYBODY lets in whoever is logged in."""
    return not allowed or bool(allowed.intersection(roles))


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
