"""Blocking calls off the event loop: few threads, a bound on waiting, one kind of error."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from valetkey_broker.adapters.vault.errors import VAULT_ERRORS, explain, timed_out, unavailable
from valetkey_broker.errors import BrokerError

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4
"""Vault is never on the hot path; more threads would only be a bigger herd."""


class Calls:
    """Runs blocking calls to Vault, each for at most `timeout` seconds with its wait for a thread."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="vault")
        self._closed = False

    async def run(self, doing: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Returns what `function` returns.

        Raises BrokerError for what goes wrong with Vault. It hangs on no other exception: those of
        requests hold the token. `doing`, such as "reading", goes into the message.
        """
        if self._closed:
            raise unavailable("closed", doing, "the broker is stopping")
        failure: BrokerError
        try:
            async with asyncio.timeout(self._timeout):
                work = partial(function, *args, **kwargs)
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError:  # before the next: it is an OSError
            failure = timed_out(doing)
        except VAULT_ERRORS as error:
            failure = explain(error, doing)
        raise failure

    def close(self) -> None:
        """Lets go of the threads; those at work end with their call's own timeout."""
        self._closed = True
        self._threads.shutdown(wait=False)
