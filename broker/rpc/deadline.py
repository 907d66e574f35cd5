"""A time limit that costs nothing where nothing waits, and next to nothing where the wait is short."""

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")

_TICK_SECONDS = 0.1
# Below this the tick would be too coarse.
_EXACT_BELOW_SECONDS = 1.0


class Deadlines:
    """The time limits of one event loop's calls, under one timer.

    A timer for each call, set at its first wait and taken down again, costs about a seventh of all that an IssueToken
    takes of the processor (docs/performance.md).
    """

    def __init__(self) -> None:
        self._ends: dict[asyncio.Task[Any], float] = {}
        self._ticking = False

    async def within(self, seconds: float, coroutine: Coroutine[Any, Any, T]) -> T:
        """Returns what `coroutine` returns. Raises TimeoutError where it is still waiting after `seconds`.

        Limits of a second and more end up to a tenth of a second late. They begin at the coroutine's first wait: one
        that never waits cannot be interrupted anyway. A task has one limit at a time.
        """
        try:
            waits_for = coroutine.send(None)
        except StopIteration as done:
            result: T = done.value
            return result
        if seconds < _EXACT_BELOW_SECONDS:
            async with asyncio.timeout(seconds):
                return await _rest(coroutine, waits_for)
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is None or task in self._ends:
            raise AssertionError("calls are served by tasks of their own")
        cancelling = task.cancelling()
        self._ends[task] = loop.time() + seconds
        if not self._ticking:
            self._ticking = True
            loop.call_later(_TICK_SECONDS, self._tick, loop)
        try:
            return await _rest(coroutine, waits_for)
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
