"""Waits for what comes sooner or later."""

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits until `condition` holds. Fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event to offer)
            await asyncio.sleep(0.005)
