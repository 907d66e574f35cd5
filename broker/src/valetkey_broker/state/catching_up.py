"""Has memory catch up with Vault before callers are told what it says: it may be a poll behind what others changed."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine

from valetkey_broker.limits import Slots, TokenBuckets
from valetkey_broker.ports import Clock

# What anybody can have read again by being refused: a burst for who does one thing after another, and then so often
# that memory is a tenth of a second behind at most, however many are refused.
_BURST, _PER_SECOND = 20, 10.0
# So many of these may wait at the same time: where Vault hangs, strangers must not hold all the calls there may be.
_MOST_WAITING = 200
_ALL = ""


class CatchingUp:
    """Reads the news for calls that wait for it, one reading at a time: those who come meanwhile share the next one."""

    def __init__(self, refresh: Callable[[], Awaitable[None]], clock: Clock = time.monotonic) -> None:
        """`refresh` reads what changed since the last time, which mostly is nothing; `clock` bounds `in_bounds`."""
        self._vault_away = False
        self._refresh = refresh
        self._bucket = TokenBuckets(per_second=_PER_SECOND, burst=_BURST, clock=clock)
        self._waiting = Slots(_MOST_WAITING)
        self._reading: _Reading | None = None
        self._next: _Reading | None = None

    @property
    def vault_away(self) -> bool:
        """Whether Vault did not answer the last poll. Then memory is all there is, and nobody waits for more."""
        return self._vault_away

    @vault_away.setter
    def vault_away(self, away: bool) -> None:
        self._vault_away = away
        for reading in (self._reading, self._next):
            if away and reading is not None:
                reading.let_go()

    async def now(self) -> None:
        """Returns once memory has all that was in Vault when this was called, or Vault cannot say. Never raises."""
        if self._vault_away:
            return
        if self._next is None:
            self._next = _Reading(self._read_after(self._reading))
        await self._next.wait()

    async def in_bounds(self) -> None:
        """Does what `now` does, for what anybody can cause; out of bounds it leaves memory as it is.

        Bounded is how often that is a reading of its own, and how many wait.
        """
        with self._waiting.hold(_ALL) as may_wait:
            if may_wait and (self._next is not None or not self._bucket.take(_ALL)):
                await self.now()

    async def close(self) -> None:
        """Ends what is under way. Never raises."""
        tasks = [reading.task for reading in (self._reading, self._next) if reading is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_after(self, before: "_Reading | None") -> None:
        if before is not None:
            await asyncio.wait((before.task,))
        # From here on it is too late to share this one.
        self._reading, self._next = self._next, None
        try:
            await self._refresh()
        except Exception:  # noqa: BLE001, S110 (the poll sees and says that Vault is away; calls go on from memory)
            pass
        finally:
            self._reading = None


class _Reading:
    """One reading, and those who wait for it. Who hangs up leaves it to the others."""

    def __init__(self, work: Coroutine[None, None, None]) -> None:
        self._over = asyncio.Event()
        self.task = asyncio.create_task(work, name="state-catching-up")
        self.task.add_done_callback(lambda _: self._over.set())

    async def wait(self) -> None:
        """Returns when it is over, or its callers are let go."""
        await self._over.wait()

    def let_go(self) -> None:
        """Has those who wait by now wait no longer. It goes on, and others may wait for it."""
        if not self.task.done():
            self._over.set()
            self._over = asyncio.Event()
