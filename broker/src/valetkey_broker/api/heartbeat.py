"""Signs of life in a stream that has nothing else to say."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TypeVar

T = TypeVar("T")


async def with_heartbeats(items: AsyncGenerator[T, None], seconds: float | None) -> AsyncGenerator[T | None, None]:
    """Yields what `items` does, and None after each `seconds` of silence; without `seconds`, only what `items` does.

    Closes `items` as it ends. Raises what `items` raises.
    """
    async with contextlib.aclosing(items):
        if seconds is None:
            async for item in items:
                yield item
            return
        # A generator that is cut off as it waits is over, so it waits in a task, which outlasts each silence.
        coming = _next(items)
        try:
            while True:
                await asyncio.wait({coming}, timeout=seconds)
                if not coming.done():
                    yield None
                    continue
                try:
                    item = coming.result()
                except StopAsyncIteration:
                    return
                yield item
                coming = _next(items)
        finally:
            if not coming.done():
                coming.cancel()
                await asyncio.wait({coming})


def _next(items: AsyncGenerator[T, None]) -> asyncio.Task[T]:
    async def item() -> T:
        return await anext(items)

    return asyncio.get_running_loop().create_task(item())
