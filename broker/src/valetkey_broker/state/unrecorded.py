"""Changes that are made, and not on record yet: their intents stay open until they are."""

import contextlib
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

T = TypeVar("T")


class Unrecorded:
    """The intents of one call. Where its process dies before it recorded an outcome, whoever settles them does that."""

    def __init__(self) -> None:
        self._held = contextlib.AsyncExitStack()
        self._settled: dict[tuple[str, ...], Callable[[], Awaitable[None]]] = {}  # by the paths of an intent

    async def hold(self, work: AbstractAsyncContextManager[T]) -> T:
        """Enters a context in which an intent is worked on; it ends with the call."""
        return await self._held.enter_async_context(work)

    def settled(self, paths: tuple[str, ...], close: Callable[[], Awaitable[None]]) -> None:
        """Notes that nothing is left to do for an intent of these paths but to `close` it."""
        self._settled[paths] = close

    async def close(self, paths: Collection[str] | None = None) -> None:
        """Closes the intents that are settled, or those of `paths`: a call may change the same object again."""
        for each in list(self._settled):
            if paths is None or not set(paths).isdisjoint(each):
                await self._settled.pop(each)()

    async def release(self) -> None:
        """Lets go of the intents; those that are not closed are left for others to settle."""
        await self._held.aclose()


_UNRECORDED: contextvars.ContextVar[Unrecorded | None] = contextvars.ContextVar("unrecorded", default=None)


@contextlib.asynccontextmanager
async def unrecorded() -> AsyncIterator[Unrecorded]:
    """Has the changes made in this context wait for a `close`, which follows the record of their outcome."""
    changes = Unrecorded()
    token = _UNRECORDED.set(changes)
    try:
        yield changes
    finally:
        _UNRECORDED.reset(token)
        await changes.release()


@contextlib.asynccontextmanager
async def until_recorded() -> AsyncIterator[Unrecorded]:
    """Gives the changes of the call at hand; those that nobody records are closed when the context ends."""
    around = _UNRECORDED.get()
    if around is not None:
        yield around
        return
    own = Unrecorded()
    try:
        yield own
    finally:
        await own.close()
        await own.release()
