"""Pages of several parts: one that fails does not take the others along, and one that may not be seen is not asked."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from valetkey import ValetKeyError
from valetkey_console.broker.failures import Failure, failure_on_page
from valetkey_console.visits.roles import Roles
from valetkey_console.visits.visit import Visit


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a page: what the broker said, or why it did not. `seen` is false for who may not see it."""

    seen: bool = False
    value: Any = None
    failure: Failure | None = None


async def part(visit: Visit, roles: Roles, asked: Any) -> Part:
    """Calls `asked` for who has one of the roles. Raises UnauthenticatedError, which ends the session."""
    if not visit.may(roles):
        return Part()
    try:
        answer: Awaitable[Any] = asked()
        return Part(seen=True, value=await answer)
    except ValetKeyError as error:
        return Part(seen=True, failure=failure_on_page(error, reading=True))
