"""Records refusals. A burst of them must neither fill the disk nor keep the service busy."""

import asyncio
from dataclasses import replace

import structlog

from valetkey_broker.errors import BrokerError
from valetkey_broker.limits import TokenBuckets, network_of
from valetkey_broker.model import Event
from valetkey_broker.ports import Clock, Ledger

_PER_SECOND = 0.2
_BURST = 20
_ALL_PER_SECOND = 50.0
_ALL_BURST = 500
_SUMMARY_SECONDS = 10.0
_MOST_SUMMARIES = 1000
# What a sum says only where it was the same in all that it stands for; the network of the peers is told besides.
_TOLD = ("principal", "authentication", "method", "object", "connector", "resource", "permissions", "purpose")

_Alike = tuple[str, str, str, str]


class _Budget:
    """What may be recorded one by one, and the sums of all that is beyond it."""

    def __init__(self, clock: Clock) -> None:
        self._buckets = TokenBuckets(per_second=_PER_SECOND, burst=_BURST, clock=clock)
        # Whoever comes from ever new addresses or with ever new names is summed up by the kind of refusal alone.
        self._all = TokenBuckets(per_second=_ALL_PER_SECOND, burst=_ALL_BURST, clock=clock)
        self.sums: dict[_Alike, Event] = {}

    def is_spent(self, key: _Alike) -> bool:
        """Tells whether there is nothing left for one more that is alike; otherwise takes it."""
        return bool(self._buckets.take("\0".join(key)) or self._all.take(""))

    def add(self, key: _Alike, event: Event) -> None:
        """Adds a refusal, or a sum, to the sum of those alike."""
        if key not in self.sums and len(self.sums) >= _MOST_SUMMARIES:
            # Who it was would not be true of all of these, nor what they wanted.
            key = (*key[:2], "", "")
            event = Event(kind=event.kind, time=event.time, reason=event.reason, count=event.count)
        known = self.sums.get(key)
        self.sums[key] = event if known is None else _sum(known, event)


class Refusals:
    """Records each of the first refusals of a kind, and of those that follow fast a sum every few seconds.

    Alike are refusals of the same kind and reason, of the same principal (or, without one, the same address, of IPv6
    the same /64 network), on the same method. A sum shows what all of them had in common, the time and the request id
    of the first, and how many it stands for. What the ledger cannot take right now is summed up as well, and written
    once it can. Refusals without a principal have a budget of their own: a flood of them, which needs no credentials,
    takes nothing from the records of principals.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._known = _Budget(clock)
        self._unknown = _Budget(clock)
        self._log = structlog.get_logger()

    async def record(self, event: Event) -> None:
        """Records a refusal, or adds it to a sum. Never raises: a refusal stands, with or without its record."""
        budget = self._known if event.principal else self._unknown
        key = (event.kind.value, event.reason, event.principal or network_of(event.peer), event.method)
        if budget.is_spent(key):
            budget.add(key, event)
            return
        await self._write(budget, key, event)

    async def run(self) -> None:
        """Writes the sums every few seconds until cancelled."""
        while True:
            await asyncio.sleep(_SUMMARY_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Writes the sums now, all at once: the ledger makes one transaction of them."""
        budgets = (self._known, self._unknown)
        await asyncio.gather(*(self._write_sum(budget, key) for budget in budgets for key in tuple(budget.sums)))

    async def _write_sum(self, budget: _Budget, key: _Alike) -> None:
        # Taken out as it is handed over: what is cancelled before that is still there for the next time.
        event = budget.sums.pop(key, None)
        if event is not None:
            await self._write(budget, key, event)

    async def _write(self, budget: _Budget, key: _Alike, event: Event) -> None:
        try:
            await self._ledger.record(event)
        except Exception as error:  # noqa: BLE001 (a refusal stands, and its record must not turn it into an error)
            budget.add(key, event)
            reason = error.reason.name if isinstance(error, BrokerError) else type(error).__qualname__
            self._log.warning("a refusal could not be recorded yet", reason=reason, refused=event.reason)


def _sum(known: Event, event: Event) -> Event:
    """Returns the sum of two: nothing in it may be read as true of all where it was true of one."""
    differing = {name: "" for name in _TOLD if getattr(known, name) != getattr(event, name)}
    if known.peer != event.peer:
        network = network_of(known.peer)
        differing["peer"] = network if network == network_of(event.peer) else ""
    details = {name: value for name, value in known.details.items() if event.details.get(name) == value}
    return replace(known, count=known.count + event.count, details=details, **differing)  # type: ignore[arg-type] # only texts
