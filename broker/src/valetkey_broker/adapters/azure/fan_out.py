"""Asking many things at once, where being refused some of them is no failure."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from valetkey_broker.errors import BrokerError, Reason

A = TypeVar("A")
B = TypeVar("B")

_AT_ONCE = 8
# Not found: deleted since it was listed.
_PASSED_OVER = frozenset({Reason.CLOUD_PERMISSION_MISSING, Reason.RESOURCE_NOT_FOUND})


async def each(things: Iterable[A], look: Callable[[A], Awaitable[B]]) -> list[B]:
    """Returns what `look` finds for each thing, in order, up to 8 at a time.

    Leaves out things that are refused or gone. Raises the first BrokerError of another kind, or, where all are
    refused or gone, the first of those.
    """
    limit = asyncio.Semaphore(_AT_ONCE)
    found: list[B] = []
    errors: list[BrokerError] = []

    async def bounded(thing: A) -> B | BrokerError:
        async with limit:
            try:
                return await look(thing)
            except BrokerError as error:
                return error

    for outcome in await asyncio.gather(*map(bounded, things)):
        if isinstance(outcome, BrokerError):
            errors.append(outcome)
        else:
            found.append(outcome)
    fatal = [error for error in errors if error.reason not in _PASSED_OVER]
    if fatal or (errors and not found):
        raise (fatal or errors)[0]
    return found
