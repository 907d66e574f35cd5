"""Records refusals. A burst of them must neither fill the disk nor keep the service busy."""

import asyncio
from dataclasses import replace

import structlog

from broker.errors import BrokerError
from broker.limits import TokenBuckets
from broker.model import Event
from broker.ports import Clock, Ledger

_PER_SECOND = 0.2
_BURST = 20
_SUMMARY_SECONDS = 10.0
_MOST_SUMMARIES = 1000

_Alike = tuple[str, str, str, str]


class Refusals:
    """Records each of the first refusals of a kind, and of those that follow fast a sum every few seconds.

    Alike are refusals of the same kind and reason, of the same principal (or, without one, the same peer), on the same
    method. Of a sum the ledger keeps the first event, and how many it stands for. What the ledger cannot take right now
    is summed up as well, and written once it can.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._buckets = TokenBuckets(per_second=_PER_SECOND, burst=_BURST, clock=clock)
        # Whoever comes from ever new addresses or with ever new names is summed up by the kind of refusal alone.
        self._all = TokenBuckets(per_second=50.0, burst=500, clock=clock)
        self._sums: dict[_Alike, Event] = {}
        self._log = structlog.get_logger()

    async def record(self, event: Event) -> None:
        """Records a refusal, or adds it to a sum. Never raises: a refusal stands, with or without its record."""
        who = event.principal or event.peer
        key = (event.kind.value, event.reason, who, event.method)
        if self._buckets.take("\0".join(key)) or self._all.take(""):
            self._add(key, event)
            return
        await self._write(key, event)

    async def run(self) -> None:
        """Writes the sums every few seconds until cancelled."""
        while True:
            await asyncio.sleep(_SUMMARY_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Writes the sums now, all at once: the ledger makes one transaction of them."""
        await asyncio.gather(*(self._write_sum(key) for key in tuple(self._sums)))

    async def _write_sum(self, key: _Alike) -> None:
        # Taken out as it is handed over: what is cancelled before that is still there for the next time.
        event = self._sums.pop(key, None)
        if event is not None:
            await self._write(key, event)

    def _add(self, key: _Alike, event: Event) -> None:
        if key not in self._sums and len(self._sums) >= _MOST_SUMMARIES:
            # Who it was would not be true of all of these, nor what they wanted.
            key = (*key[:2], "", "")
            event = Event(kind=event.kind, time=event.time, reason=event.reason, count=event.count)
        known = self._sums.get(key)
        self._sums[key] = event if known is None else replace(known, count=known.count + event.count)

    async def _write(self, key: _Alike, event: Event) -> None:
        try:
            await self._ledger.record(event)
        except BrokerError as error:
            self._add(key, event)
            self._log.warning("a refusal could not be recorded yet", reason=error.reason.name, refused=event.reason)
