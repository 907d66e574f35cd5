"""Counts turns of the event loop, to see how much is done in one of them: no clock, so no busy machine matters."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable


class Turns:
    """`most` is how far a measure moved within one turn of the event loop."""

    def __init__(self) -> None:
        self.most = 0


@contextlib.asynccontextmanager
async def watched(measure: Callable[[], int]) -> AsyncIterator[Turns]:
    """Looks at `measure`, which only grows, once in every turn of the event loop."""
    turns = Turns()

    async def watch() -> None:
        before = measure()
        while True:
            await asyncio.sleep(0)
            now = measure()
            turns.most = max(turns.most, now - before)
            before = now

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0)
    try:
        yield turns
        await asyncio.sleep(0)
    finally:
        watcher.cancel()
