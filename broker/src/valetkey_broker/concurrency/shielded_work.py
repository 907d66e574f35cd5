"""Work that goes on to its end when the caller who waits for it hangs up."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import structlog

from valetkey_broker.errors import BrokerError

P = ParamSpec("P")
T = TypeVar("T")


class ShieldedWork:
    """The changes that run right now."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._log = structlog.get_logger()

    async def whole(self, change: Coroutine[Any, Any, T]) -> T:
        """Returns what `change` returns. A caller who ends while waiting does not end the change."""
        task = asyncio.create_task(change)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._ended_alone)
            raise

    async def close(self) -> None:
        """Waits for the changes under way. Never raises."""
        await asyncio.gather(*self._running, return_exceptions=True)

    def _ended_alone(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()  # Also marks the exception as seen.
        if error is not None:
            reason = error.reason.name if isinstance(error, BrokerError) else type(error).__qualname__
            self._log.warning("a change failed after its caller had gone", reason=reason)


class _Changing(Protocol):
    background: ShieldedWork


S = TypeVar("S", bound=_Changing)


def whole(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Makes of a method a change that its caller's end does not cut in two."""

    @functools.wraps(method)
    async def shielded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.background.whole(method(self, *args, **kwargs))

    return shielded
