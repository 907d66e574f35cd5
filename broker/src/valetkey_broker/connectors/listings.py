"""Shares listings: what a connector reached a moment ago need not be asked of Azure again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Connector, Container
from valetkey_broker.ports import Clock

# Long enough that callers in a loop are no load on Azure, short enough that people do not wonder.
_RECENT_SECONDS = 2.0

_Id = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Answer:
    until: float
    containers: Sequence[Container] = ()
    error: BrokerError | None = None


class RecentListings:
    """One question to Azure at a time and connector, however many callers want to know; errors are answers too."""

    def __init__(self, ask: Callable[[Connector], Awaitable[Sequence[Container]]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._asking: dict[_Id, asyncio.Task[Sequence[Container]]] = {}
        self._answers: dict[_Id, _Answer] = {}

    async def get(self, connector: Connector) -> Sequence[Container]:
        """Returns what the connector reaches, or reached at most two seconds ago. Raises what `ask` raises.

        Where Azure said when to come back, nobody asks before.
        """
        known, now = (connector.uid, connector.credential_version), self._clock()
        answer = self._answers.get(known)
        if answer is not None and now < answer.until:
            if answer.error is None:
                return answer.containers
            error = answer.error
            left = answer.until - now if error.reason is Reason.CLOUD_THROTTLED else error.retry_after
            raise error.again_in(left)
        return await asyncio.shield(self._asking.get(known) or self._start(known, connector))

    async def close(self) -> None:
        """Ends what is under way."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._answers.clear()

    def _start(self, known: _Id, connector: Connector) -> asyncio.Task[Sequence[Container]]:
        async def ask() -> Sequence[Container]:
            return await self._ask(connector)

        def done(task: asyncio.Task[Sequence[Container]]) -> None:
            self._asking.pop(known, None)
            if task.cancelled():
                return
            error = task.exception()  # Also marks the exception as seen.
            now = self._clock()
            self._answers.pop(known, None)
            for old in [old for old, answer in self._answers.items() if answer.until <= now]:
                del self._answers[old]  # Of connectors that are gone nothing is kept.
            if error is None:
                self._answers[known] = _Answer(now + _RECENT_SECONDS, task.result())
            elif isinstance(error, BrokerError):
                later = error.retry_after if error.reason is Reason.CLOUD_THROTTLED else None
                self._answers[known] = _Answer(now + max(_RECENT_SECONDS, later or 0.0), error=error)

        task = asyncio.create_task(ask(), name=f"listing {connector.name}")
        self._asking[known] = task
        task.add_done_callback(done)
        return task
