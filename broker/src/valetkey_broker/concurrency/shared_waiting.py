"""One task that looks after all that waits, about once a second: ten thousand timers take a core, one takes none."""

import asyncio
import contextlib
import time
from collections.abc import Callable

# Whoever else wants the event loop gets it this often while a round lasts.
_SLICE_SECONDS = 0.002


class SharedWaiting:
    """Asks everybody who waits, each time round, whether to go on waiting."""

    def __init__(self, seconds: float) -> None:
        """A round begins `seconds` after the one before it has ended."""
        self._seconds = seconds
        self._waiting: dict[_Waiting, None] = {}
        self._at_once = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def until(self, look: Callable[[], float | None]) -> None:
        """Waits until `look` returns None. It is asked now, in each round, and when it says so.

        Other than None it returns in how many seconds it has to be asked at the latest. Raises what it raises.
        """
        if (seconds := look()) is None:
            return
        loop = asyncio.get_running_loop()
        waiting = _Waiting(look, loop.create_future())
        self._waiting[waiting] = None
        if self._task is None:
            self._task = loop.create_task(self._go_round())
        try:
            self._remind(waiting, seconds)
            await waiting.over
        finally:
            del self._waiting[waiting]
            if waiting.reminder is not None:
                waiting.reminder.cancel()
            if not self._waiting and self._task is not None:
                self._task.cancel()
                self._task = None

    def at_once(self) -> None:
        """Begins a round now."""
        self._at_once.set()

    async def _go_round(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._at_once.wait()
            self._at_once.clear()
            began = time.monotonic()
            for waiting in list(self._waiting):
                self._ask(waiting)
                if time.monotonic() - began > _SLICE_SECONDS:
                    await asyncio.sleep(0)
                    began = time.monotonic()

    def _ask(self, waiting: "_Waiting") -> None:
        if waiting.over.done():
            return
        try:
            seconds = waiting.look()
        except Exception as error:  # noqa: BLE001 (it is the waiting one's, and must not end the round of the others)
            waiting.over.set_exception(error)
            return
        if seconds is None:
            waiting.over.set_result(None)
        else:
            self._remind(waiting, seconds)

    def _remind(self, waiting: "_Waiting", seconds: float) -> None:
        if seconds < self._seconds and waiting.reminder is None:
            waiting.reminder = asyncio.get_running_loop().call_later(seconds, self._reminded, waiting)

    def _reminded(self, waiting: "_Waiting") -> None:
        waiting.reminder = None
        self._ask(waiting)


class _Waiting:
    __slots__ = ("look", "over", "reminder")

    def __init__(self, look: Callable[[], float | None], over: "asyncio.Future[None]") -> None:
        self.look = look
        self.over = over
        self.reminder: asyncio.TimerHandle | None = None
