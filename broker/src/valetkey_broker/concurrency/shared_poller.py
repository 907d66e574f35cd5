"""One task that looks after all that waits: ten thousand timers take a core, one takes next to nothing."""

import asyncio
import contextlib
import heapq
import itertools
import time
from collections.abc import Callable, Iterable

from valetkey_broker.concurrency.cooperative_slices import slices

# So many are asked in one turn of the event loop: those whose waiting is over go on in the turn after it, all of them.
_AT_A_TIME = 32
# A time that somebody has to be asked at is kept to within this many seconds.
_TICK_SECONDS = 0.05
# So many times there may be no news before everybody is asked nonetheless.
_QUIET_ROUNDS = 10


class SharedPoller:
    """Asks those who wait whether to go on waiting: each when its time has come, and all of them when there is news."""

    def __init__(self, seconds: float, news: Callable[[], object] = object) -> None:
        """Every `seconds` it asks for `news`: where that returns something else than the last time, everybody is asked.

        As if there were news where it is left out. Everybody is asked now and then even without.
        """
        self._seconds = seconds
        self._quiet_seconds = seconds * _QUIET_ROUNDS
        self._news = news
        self._seen: object = None
        self._waiting: dict[_Waiting, None] = {}
        self._times: list[tuple[float, int, _Waiting]] = []
        self._order = itertools.count()
        self._at_once = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def until(self, look: Callable[[], float | None]) -> None:
        """Waits until `look` returns None. It is asked now, with news, and when it says so.

        Other than None it returns in how many seconds it has to be asked at the latest. Raises what it raises.
        """
        if (seconds := look()) is None:
            return
        loop = asyncio.get_running_loop()
        waiting = _Waiting(look, loop.create_future())
        self._waiting[waiting] = None
        if self._task is None:
            self._task = loop.create_task(self._look_after_them())
        try:
            self._note(waiting, seconds)
            await waiting.over
        finally:
            del self._waiting[waiting]
            if not self._waiting and self._task is not None:
                self._task.cancel()
                self._task = None
                self._times.clear()

    def at_once(self) -> None:
        """Asks everybody now."""
        self._at_once.set()

    async def _look_after_them(self) -> None:
        tick = min(self._seconds, _TICK_SECONDS)
        news_at = everybody_at = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(tick):
                    await self._at_once.wait()
            now = time.monotonic()
            if self._at_once.is_set() or now >= news_at:
                news_at = now + self._seconds
                # Seen before anybody is asked: what comes while they are is news the next time.
                if self._is_news() or now >= everybody_at:
                    everybody_at = now + self._quiet_seconds
                    await self._ask(list(self._waiting))
                    continue
            await self._ask(self._whose_time_has_come(now))

    def _is_news(self) -> bool:
        before, at_once = self._seen, self._at_once.is_set()
        self._at_once.clear()
        try:
            self._seen = self._news()
        except Exception:  # noqa: BLE001 (what is broken shows to each that looks for itself)
            return True
        return at_once or self._seen != before

    def _whose_time_has_come(self, now: float) -> list["_Waiting"]:
        came = []
        while self._times and self._times[0][0] <= now:
            waiting = heapq.heappop(self._times)[2]
            waiting.noted = None
            came.append(waiting)
        return came

    async def _ask(self, asked: Iterable["_Waiting"]) -> None:
        async for batch in slices(asked, _AT_A_TIME):
            for waiting in batch:
                if not waiting.over.done():
                    self._ask_one(waiting)

    def _ask_one(self, waiting: "_Waiting") -> None:
        try:
            seconds = waiting.look()
        except Exception as error:  # noqa: BLE001 (it is the waiting one's, and must not end what the others wait for)
            waiting.over.set_exception(error)
            return
        if seconds is None:
            waiting.over.set_result(None)
        else:
            self._note(waiting, seconds)

    def _note(self, waiting: "_Waiting", seconds: float) -> None:
        # What is further away is seen when everybody is asked.
        if seconds >= self._quiet_seconds:
            return
        at = time.monotonic() + seconds
        if waiting.noted is None or at < waiting.noted:
            waiting.noted = at
            heapq.heappush(self._times, (at, next(self._order), waiting))


class _Waiting:
    __slots__ = ("look", "noted", "over")

    def __init__(self, look: Callable[[], float | None], over: "asyncio.Future[None]") -> None:
        self.look = look
        self.over = over
        self.noted: float | None = None
        """When it is asked next, in seconds of the monotonic clock, where that is soon."""
