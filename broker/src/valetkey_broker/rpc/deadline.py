"""The time limits of calls."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_TICK_SECONDS = 0.1
# Below this the tick would be too coarse.
_EXACT_BELOW_SECONDS = 1.0


class Deadlines:
    """The limits of one event loop's calls, under one timer.

    A timer for each call costs a good part of what an IssueToken takes of the processor (docs/performance.md).
    """

    def __init__(self) -> None:
        self._ends: dict[asyncio.Task[Any], float] = {}
        self._ticking = False

    async def within(self, seconds: float, coroutine: Coroutine[Any, Any, T]) -> T:
        """Returns what `coroutine` returns. Raises TimeoutError where it still waits after `seconds`.

        Limits of a second and more end up to a tenth of a second late. A task has one limit at a time.
        """
        if seconds < _EXACT_BELOW_SECONDS:
            async with asyncio.timeout(seconds):
                return await coroutine
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is None or task in self._ends:
            raise AssertionError("calls are served by tasks of their own")
        cancelling = task.cancelling()
        self._ends[task] = loop.time() + seconds
        if not self._ticking:
            self._ticking = True
            loop.call_later(_TICK_SECONDS, self._tick, loop)
        try:
            return await coroutine
        except asyncio.CancelledError:
            # As asyncio.timeout does: where somebody else wants the task to end as well, it ends.
            if task not in self._ends and task.cancelling() - 1 <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            if self._ends.pop(task, None) is None:
                task.uncancel()  # What the tick asked for is done with.

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task in [task for task, ends in self._ends.items() if ends <= now]:
            del self._ends[task]
            task.cancel()
        self._ticking = bool(self._ends)
        if self._ticking:
            loop.call_later(_TICK_SECONDS, self._tick, loop)
