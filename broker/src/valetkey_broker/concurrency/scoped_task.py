"""Waits for work in parts, so that whoever waits can do something in between."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


class ScopedTask(Generic[T]):
    """Work that begins with a block and ends with it, if it has not ended by itself."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._task = asyncio.get_running_loop().create_task(work)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    async def ends_within(self, seconds: float | None) -> bool:
        """Waits for its end, `seconds` at most; None is for ever."""
        await asyncio.wait({self._task}, timeout=seconds)
        return self._task.done()

    def result(self) -> T:
        """Returns what it returned, or raises what it raised."""
        return self._task.result()
