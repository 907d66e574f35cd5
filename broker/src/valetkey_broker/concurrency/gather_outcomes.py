"""Asks many things at once; what one of them answers does not hide the others."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from valetkey_broker.errors import BrokerError

A = TypeVar("A")
B = TypeVar("B")

_AT_ONCE = 8
_TURN_AFTER = 32


async def outcomes(
    things: Iterable[A], ask: Callable[[A], Awaitable[B]], *, at_once: int = _AT_ONCE
) -> list[tuple[A, B | BrokerError]]:
    """Returns what `ask` finds for each thing, or the BrokerError it raises, in order, asking `at_once` at a time."""

    async def outcome(thing: A) -> tuple[A, B | BrokerError]:
        try:
            return thing, await ask(thing)
        except BrokerError as error:
            return thing, error

    return await work_off(list(things), outcome, at_once=at_once)


async def work_off(things: Sequence[A], work: Callable[[A], Awaitable[B]], *, at_once: int = _AT_ONCE) -> list[B]:
    """Returns what `work` makes of each thing, in order, working on `at_once` at a time. Raises what it does.

    What does not wait costs no task of its own: whoever is at it goes on with the next, and lets others in between.
    """
    found: dict[int, B] = {}
    left = iter(range(len(things)))

    async def worker() -> None:
        for place in left:
            found[place] = await work(things[place])
            if place % _TURN_AFTER == _TURN_AFTER - 1:
                await asyncio.sleep(0)

    await asyncio.gather(*(worker() for _ in range(min(at_once, len(things)))))
    return [found[place] for place in range(len(things))]
