"""Changes that are under way: none is cut in two by a caller's end, and what Vault was away for is tried again."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import structlog

from valetkey_broker.errors import BrokerError

P = ParamSpec("P")
T = TypeVar("T")


class BackgroundWork:
    """The changes that run right now, and the chores that are left of earlier ones."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._chores: dict[str, Callable[[], Awaitable[object]]] = {}
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

    def later(self, chore: str, run: Callable[[], Awaitable[object]], error: BaseException | None) -> None:
        """Has `run` tried again at each poll until it no longer raises; `chore` names it, to people too."""
        self._chores[chore] = run
        self._log.warning("not done yet; trying again at each poll", chore=chore, reason=_name(error))

    async def catch_up(self) -> None:
        """Does the chores, up to the first that fails; the next round begins with another one. Never raises."""
        for chore, run in list(self._chores.items()):
            try:
                await run()
            except Exception:  # noqa: BLE001 (said once already; what else the poll does must go on)
                if self._chores.get(chore) is run:
                    self._chores[chore] = self._chores.pop(chore)
                return
            if self._chores.get(chore) is run:
                del self._chores[chore]
            self._log.info("done at last", chore=chore)

    async def close(self) -> None:
        """Waits for the changes under way, then tries the chores once more. Never raises."""
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.catch_up()
        if self._chores:
            self._log.warning("left undone", chores=list(self._chores))

    def _ended_alone(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()  # Also marks the exception as seen.
        if error is not None:
            self._log.warning("a change failed after its caller had gone", reason=_name(error))


class _Changing(Protocol):
    background: BackgroundWork


S = TypeVar("S", bound=_Changing)


def whole(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Makes of a method a change that its caller's end does not cut in two."""

    @functools.wraps(method)
    async def shielded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.background.whole(method(self, *args, **kwargs))

    return shielded


def _name(error: BaseException | None) -> str:
    if error is None:
        return "cut off"
    return error.reason.name if isinstance(error, BrokerError) else type(error).__qualname__
