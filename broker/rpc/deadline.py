"""A time limit that costs nothing where nothing waits, and little where something does."""

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")

_TICK = 0.1
# Below this the tick would be too coarse.
_EXACT_BELOW = 1.0


class _Limit:
    """When a task has to be done with what it does."""

    __slots__ = ("before", "ends", "expired", "task")

    def __init__(self, task: asyncio.Task[Any], ends: float) -> None:
        self.task = task
        self.ends = ends
        self.before = task.cancelling()
        self.expired = False


class _Watch:
    """Looks after all limits of an event loop with one timer; setting one for each call costs more on uvloop than
    authenticating the caller does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._limits: set[_Limit] = set()
        self._armed = False

    def add(self, limit: _Limit) -> None:
        self._limits.add(limit)
        if not self._armed:
            self._armed = True
            self.loop.call_later(_TICK, self._look)

    def remove(self, limit: _Limit) -> None:
        self._limits.discard(limit)

    def _look(self) -> None:
        now = self.loop.time()
        for limit in [limit for limit in self._limits if limit.ends <= now]:
            self._limits.discard(limit)
            limit.expired = True
            limit.task.cancel()
        self._armed = bool(self._limits)
        if self._armed:
            self.loop.call_later(_TICK, self._look)


_watch: _Watch | None = None


async def within(seconds: float, coroutine: Coroutine[Any, Any, T]) -> T:
    """Returns what `coroutine` returns. Raises TimeoutError where it is still waiting after `seconds`.

    Limits of a second and more end up to a tenth of a second late. They begin at the coroutine's first wait: one that
    never waits cannot be interrupted anyway.
    """
    try:
        waits_for = coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    if seconds < _EXACT_BELOW:
        async with asyncio.timeout(seconds):
            return await _rest(coroutine, waits_for)
    return await _watched(seconds, coroutine, waits_for)


async def _watched(seconds: float, coroutine: Coroutine[Any, Any, T], waits_for: Any) -> T:
    global _watch  # noqa: PLW0603 (of the loop that runs; there is one in a process, tests have several in turn)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is None:
        raise AssertionError("calls are served by tasks")
    watch = _watch
    if watch is None or watch.loop is not loop:
        watch = _watch = _Watch(loop)
    limit = _Limit(task, loop.time() + seconds)
    watch.add(limit)
    try:
        return await _rest(coroutine, waits_for)
    except asyncio.CancelledError:
        # As asyncio.timeout does: where somebody else wants the task to end as well, it ends.
        if limit.expired and task.cancelling() - 1 <= limit.before:
            raise TimeoutError from None
        raise
    finally:
        watch.remove(limit)
        if limit.expired:
            task.uncancel()


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
