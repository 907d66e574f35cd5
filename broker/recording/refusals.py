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
    method. Of a sum the ledger keeps the first event, and how many it stands for.
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
            self._add(key if len(self._sums) < _MOST_SUMMARIES or key in self._sums else (*key[:2], "", ""), event)
            return
        await self._write(event)

    async def run(self) -> None:
        """Writes the sums every few seconds until cancelled."""
        while True:
            await asyncio.sleep(_SUMMARY_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Writes the sums now."""
        sums, self._sums = self._sums, {}
        for event in sums.values():
            await self._write(event)

    def _add(self, key: _Alike, event: Event) -> None:
        known = self._sums.get(key)
        self._sums[key] = event if known is None else replace(known, count=known.count + 1)

    async def _write(self, event: Event) -> None:
        try:
            await self._ledger.record(event)
        except BrokerError as error:
            self._log.error("a refusal could not be recorded", reason=error.reason.name, refused=event.reason)
