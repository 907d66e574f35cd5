"""Asks many things at once; what one of them answers does not hide the others."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from valetkey_broker.errors import BrokerError

A = TypeVar("A")
B = TypeVar("B")

_AT_ONCE = 8


async def outcomes(
    things: Iterable[A], ask: Callable[[A], Awaitable[B]], *, at_once: int = _AT_ONCE
) -> list[tuple[A, B | BrokerError]]:
    """Returns what `ask` finds for each thing, or the BrokerError it raises, in order, asking `at_once` at a time."""
    limit = asyncio.Semaphore(at_once)

    async def bounded(thing: A) -> tuple[A, B | BrokerError]:
        async with limit:
            try:
                return thing, await ask(thing)
            except BrokerError as error:
                return thing, error

    return await asyncio.gather(*map(bounded, things))
