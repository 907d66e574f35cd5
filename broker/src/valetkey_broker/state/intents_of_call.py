"""The intents that a call opened: they stay open until the ledger has the outcome of its change."""

import contextlib
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

T = TypeVar("T")


class OpenIntents:
    """The intents of one call. If its process dies before the outcome is on record, whoever settles them records it."""

    def __init__(self) -> None:
        self._held = contextlib.AsyncExitStack()
        self._settled: dict[tuple[str, ...], Callable[[], Awaitable[None]]] = {}  # by the paths of an intent
        self._begun = False
        self._over = False
        self._before_any: BaseException | None = None

    async def hold(self, work: AbstractAsyncContextManager[T]) -> T:
        """Enters a context in which an intent is worked on; it ends with the call."""
        self.writes()
        return await self._held.enter_async_context(work)

    def settled(self, paths: tuple[str, ...], close: Callable[[], Awaitable[None]]) -> None:
        """Notes that nothing is left to do for an intent of these paths but to `close` it."""
        self._settled[paths] = close

    def failed_preparing(self, error: BaseException) -> None:
        """Notes what kept a change from being planned: before its intent, nothing of it is written."""
        if not self._begun:
            self._before_any = error

    def failed_before_any_write(self, error: BaseException) -> bool:
        """Whether `error` came before the call tried to write anything."""
        return not self._begun and error is self._before_any

    def writes(self) -> None:
        """Notes that something is written from here on."""
        self._begun = True

    async def close(self, paths: Collection[str] | None = None) -> None:
        """Closes the intents that are settled, or those of `paths`: a call may change the same object again."""
        for each in list(self._settled):
            if paths is None or not set(paths).isdisjoint(each):
                await self._settled.pop(each)()

    async def release(self) -> None:
        """Lets go of the intents; those that are not closed are left for others to settle."""
        self._over = True
        await self._held.aclose()

    async def let_go_of_late(self) -> None:
        """Lets go of what was opened once the call was over: a change goes on where its caller's time has run out.

        Nobody would close it any more. So it is settled, and its outcome recorded, as that of a process that died.
        """
        if self._over:
            await self._held.aclose()


_INTENTS: contextvars.ContextVar[OpenIntents | None] = contextvars.ContextVar("open_intents", default=None)


@contextlib.asynccontextmanager
async def intents_of_call() -> AsyncIterator[OpenIntents]:
    """Has the changes made in this context wait for a `close`, which follows the record of their outcome."""
    changes = OpenIntents()
    token = _INTENTS.set(changes)
    try:
        yield changes
    finally:
        _INTENTS.reset(token)
        await changes.release()


@contextlib.asynccontextmanager
async def intents_at_hand() -> AsyncIterator[OpenIntents]:
    """Gives the changes of the call at hand; those that nobody records are closed when the context ends."""
    around = _INTENTS.get()
    if around is not None:
        yield around
        return
    own = OpenIntents()
    try:
        yield own
    finally:
        await own.close()
        await own.release()


def writes_without_intent() -> None:
    """Notes that the call at hand writes something for which it opens no intent."""
    around = _INTENTS.get()
    if around is not None:
        around.writes()
