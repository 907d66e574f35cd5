"""How much time is left of what ends: looked at once a minute at most, for some of it is asked of Vault."""

import asyncio
import time
from collections.abc import Iterator, Sequence

from valetkey_broker.expiry.endings import Endings
from valetkey_broker.metrics import catalog as of
from valetkey_broker.metrics.catalog import Reading
from valetkey_broker.model.ending import Ending, EndingKind
from valetkey_broker.ports import Clock
from valetkey_broker.state.memory import Memory

_KEPT_SECONDS = 60.0
# A scrape waits so long for it; later ones have what came meanwhile.
_PATIENCE_SECONDS = 1.0
_SOONEST = {
    EndingKind.API_KEY: of.API_KEY_LEFT,
    EndingKind.TRUST_BUNDLE: of.TRUST_LEFT,
    EndingKind.VAULT_SECRET_ID: of.SECRET_ID_LEFT,
}


class EndingFigures:
    """Knows the ends as of a minute ago."""

    def __init__(self, endings: Endings, memory: Memory, clock: Clock, *, kept_seconds: float = _KEPT_SECONDS) -> None:
        self._endings = endings
        self._memory = memory
        self._clock = clock
        self._kept_seconds = kept_seconds
        self._known: Sequence[Ending] = ()
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Looks again where it is time to; waits a moment for what comes of it. Never raises."""
        if self._asking is None and time.monotonic() - self._asked_at >= self._kept_seconds:
            self._asking = asyncio.get_running_loop().create_task(self._ask(), name="metrics-endings")
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=_PATIENCE_SECONDS)

    async def _ask(self) -> None:
        try:
            self._known = await self._endings.all()
        finally:
            self._asked_at, self._asking = time.monotonic(), None

    def readings(self) -> Iterator[Reading]:
        """Gives the time left of what has a known end."""
        now = self._clock()
        soonest: dict[of.Metric, float] = {}
        secrets: dict[str, float] = {}
        for each in self._known:
            if each.ends_at is None:
                continue
            left = each.ends_at.timestamp() - each.margin.total_seconds() - now
            for connector in self._connectors(each):
                secrets[connector] = min(left, secrets.get(connector, left))
            metric = _SOONEST.get(each.kind)
            # An API key that has ended is of no use to anybody, and of no concern.
            if metric is not None and (left > 0 or each.kind is not EndingKind.API_KEY):
                soonest[metric] = min(left, soonest.get(metric, left))
        for connector, left in secrets.items():
            yield of.SECRET_LEFT, (connector,), left
        for metric, left in soonest.items():
            yield metric, (), left

    def _connectors(self, ending: Ending) -> Sequence[str]:
        names: Sequence[str] = ()
        if ending.kind is EndingKind.CONNECTOR:
            names = (ending.name,)
        elif ending.kind is EndingKind.SECRET and (secret := self._memory.secrets.get(ending.name)) is not None:
            names = self._memory.named_secrets.users(secret.uid)
        return [name for name in names if name in self._memory.connectors]
