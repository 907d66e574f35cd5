"""Waits for what comes sooner or later."""

import asyncio
import time
from collections.abc import Callable


async def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits until `condition` holds. Fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event to offer)
            await asyncio.sleep(0.005)


def comes_true(holds: Callable[[], bool], seconds: float = 30) -> bool:
    """Waits, in a thread, until something holds; tells whether it came to that within `seconds`."""
    end = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < end:
        time.sleep(0.02)
    return found
