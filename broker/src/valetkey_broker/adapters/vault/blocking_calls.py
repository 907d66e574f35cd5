"""Blocking calls off the event loop: few threads, a bound on waiting, one kind of error."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from valetkey_broker.adapters.vault.bounded_sockets import answers_end_within
from valetkey_broker.adapters.vault.errors import VAULT_ERRORS, explain, timed_out, unavailable
from valetkey_broker.errors import BrokerError

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4
"""Vault is never on the hot path; more threads would only be a bigger herd."""

# A thread gives up so much later than its caller, who says why: the caller is not to be told of what that leads to.
_SLACK_SECONDS = 1.0


class Calls:
    """Runs blocking calls to Vault, each for at most `timeout` seconds, and as many before that for a thread.

    What waits for a thread has its whole time still before it: of more calls than there are threads, none fails
    because the answers of the first take long, but come in time.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="vault")
        self._free = asyncio.Semaphore(THREADS)
        self._closed = False

    async def run(self, doing: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Returns what `function` returns.

        Raises BrokerError for what goes wrong with Vault. It hangs on no other exception: those of
        requests hold the token. `doing`, such as "reading", goes into the message.
        """
        self._check_open(doing)
        failure: BrokerError
        try:
            async with asyncio.timeout(self.timeout):
                await self._free.acquire()
            work = self._begin(doing, partial(function, *args, **kwargs))
            async with asyncio.timeout(self.timeout):
                return await asyncio.wrap_future(work)
        except TimeoutError:  # before the next: it is an OSError
            failure = timed_out(doing)
        except VAULT_ERRORS as error:
            failure = explain(error, doing)
        raise failure

    def _begin(self, doing: str, function: Callable[[], T]) -> Future[T]:
        """Begins what a thread is free for, which it is again once that has ended: not when its caller gives up."""
        loop = asyncio.get_running_loop()

        def ended(_: Future[T]) -> None:
            with contextlib.suppress(RuntimeError):  # The loop may have ended before.
                loop.call_soon_threadsafe(self._free.release)

        def at_work() -> T:
            with answers_end_within(self.timeout + _SLACK_SECONDS):
                return function()

        try:
            self._check_open(doing)
            work = self._threads.submit(at_work)
        except BaseException:
            self._free.release()
            raise
        work.add_done_callback(ended)
        return work

    def _check_open(self, doing: str) -> None:
        if self._closed:
            raise unavailable("closed", doing, "the broker is stopping")

    def close(self) -> None:
        """Lets go of the threads; those at work end with their call's own timeout."""
        self._closed = True
        self._threads.shutdown(wait=False)
