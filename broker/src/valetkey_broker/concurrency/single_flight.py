"""Single flight: whatever many callers want at the same time is done once, and all of them get its outcome."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class FlightCancelledError(Exception):
    """The flight was cancelled under a caller who still waited for it, by `cancel` or `close`.

    It is not a CancelledError: to the caller's task that would mean that the caller itself had been cancelled.
    """


class SingleFlight(Generic[K, T]):
    """At most one flight per key; for one event loop.

    A flight belongs to no caller: one who is cancelled while waiting leaves it to the others, and a flight that all
    have left still goes on to its end. Nothing is kept afterwards, neither the result nor the error: whoever comes
    after the end starts a new flight. The work keeps what is worth keeping, and sets its own timeout.
    """

    def __init__(self, name: str) -> None:
        """`name` is the name of the tasks, for debuggers and logs of asyncio."""
        self._name = name
        self._flights: dict[K, asyncio.Task[T]] = {}

    async def run(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Waits for the flight of `key`, which begins with `work()` where none is under way.

        Raises what the work raises, to each who waits, and FlightCancelledError where the flight was cancelled.
        """
        task = self.start(key, work)
        await asyncio.wait((task,))  # Unlike `await task`, this leaves the task alone when the caller is cancelled.
        if task.cancelled():
            raise FlightCancelledError
        return task.result()

    def start(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """Begins a flight of `key` in the background where none is under way, and returns the one that is.

        Add callbacks to it if need be; wait for it with `run` only.
        """
        task = self._flights.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(work(), name=self._name)
            self._flights[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return task

    def __contains__(self, key: K) -> bool:
        """Tells whether a flight of `key` is under way."""
        return key in self._flights

    def active(self) -> tuple[K, ...]:
        """Returns the keys of the flights that are under way."""
        return tuple(self._flights)

    def cancel(self, key: K) -> None:
        """Cancels the flight of `key`, if one is under way; the next caller starts a new one."""
        task = self._flights.pop(key, None)
        if task is not None:
            task.cancel()

    async def settle(self) -> None:
        """Waits until the flights that are under way have ended by themselves; who waits no longer, leaves them."""
        if self._flights:
            await asyncio.wait(self._flights.values())

    async def close(self) -> None:
        """Cancels all flights and waits until they have ended. Never raises."""
        tasks = list(self._flights.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: K, task: asyncio.Task[T]) -> None:
        if self._flights.get(key) is task:
            del self._flights[key]
        if not task.cancelled():
            task.exception()  # Marks it as seen: asyncio complains of errors that nobody waited for.
