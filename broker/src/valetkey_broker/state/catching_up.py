"""Has memory catch up with Vault before callers are told what it says: it may be a poll behind what others changed."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from valetkey_broker.limits import TokenBuckets
from valetkey_broker.ports import Clock

# What anybody can have read again by being refused: a burst for who does one thing after another, and then so often
# that memory is a tenth of a second behind at most, however many are refused.
_BURST, _PER_SECOND = 20, 10.0
_ALL = ""


class CatchingUp:
    """Reads the news for calls that wait for it, one reading at a time: those who come meanwhile share the next one."""

    def __init__(self, refresh: Callable[[], Awaitable[None]], clock: Clock = time.monotonic) -> None:
        """`refresh` reads what changed since the last time, which mostly is nothing; `clock` bounds `in_bounds`."""
        self.vault_away = False
        """Whether Vault did not answer the last poll. Then memory is all there is, and nobody waits for more."""
        self._refresh = refresh
        self._bucket = TokenBuckets(per_second=_PER_SECOND, burst=_BURST, clock=clock)
        self._reading: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def now(self) -> None:
        """Returns once memory has all that was in Vault when this was called, or Vault cannot say. Never raises."""
        if self.vault_away:
            return
        if self._next is None:
            self._next = asyncio.create_task(self._read_after(self._reading), name="state-catching-up")
        await asyncio.wait((self._next,))  # Who hangs up leaves it to the others.

    async def in_bounds(self) -> None:
        """Does what `now` does, for what anybody can cause; beyond some times a second it leaves memory as it is."""
        if self._next is None and self._bucket.take(_ALL):
            return
        await self.now()

    async def close(self) -> None:
        """Ends what is under way. Never raises."""
        tasks = [task for task in (self._reading, self._next) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait((before,))
        # From here on it is too late to share this one.
        self._reading, self._next = self._next, None
        try:
            await self._refresh()
        except Exception:  # noqa: BLE001, S110 (the poll sees and says that Vault is away; calls go on from memory)
            pass
        finally:
            self._reading = None
