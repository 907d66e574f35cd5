"""A time limit that costs nothing where nothing waits."""

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, coroutine: Coroutine[Any, Any, T]) -> T:
    """Returns what `coroutine` returns. Raises TimeoutError where it is still waiting after `seconds`.

    The timer is set at the coroutine's first wait. One that never waits cannot be interrupted anyway, and setting a
    timer and taking it down again costs more on uvloop than authenticating the caller does.
    """
    try:
        waits_for = coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    async with asyncio.timeout(seconds):
        return await _rest(coroutine, waits_for)


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """Goes on with a coroutine that waits for what it has yielded, handing in whatever comes, a cancellation too."""
    while True:
        try:
            try:
                woken_with = yield waits_for
            except BaseException as error:  # noqa: BLE001 (the coroutine's to handle; it raises what it does not)
                waits_for = coroutine.throw(error)
            else:
                waits_for = coroutine.send(woken_with)
        except StopIteration as done:
            result: T = done.value
            return result
