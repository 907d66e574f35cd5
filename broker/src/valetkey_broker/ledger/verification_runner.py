"""The check of the whole ledger: one at a time, in a thread of its own, for as long as somebody waits for it."""

import asyncio
import functools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from sqlalchemy import Connection

from valetkey_broker.errors import rate_limited
from valetkey_broker.ledger.chain_verification import verify
from valetkey_broker.ledger.database import Database
from valetkey_broker.ledger.errors import cause_of, unavailable
from valetkey_broker.ledger.progress_log import Progress
from valetkey_broker.model import Head, Verification

_COME_BACK_SECONDS = 5.0


class Checker:
    """Checks the ledger for one caller at a time.

    A check reads every record, so it has a thread and a connection of its own: a revocation looks into the ledger as
    well, and does not wait for a check, however many ask for one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-checker")
        self._future: Future[Verification] | None = None
        self._begun = 0.0
        self._stop = _Stop()

    async def check(self, anchors: Sequence[Head]) -> Verification:
        """Checks every chain, and that each anchor is still in it. Cancelled, it ends the check.

        Raises RATE_LIMITED where another check is running, LEDGER_UNAVAILABLE where the database cannot be read.
        """
        if self._future is not None and not self._future.done():
            raise _running_already(time.monotonic() - self._begun)
        stop = self._stop = _Stop()
        progress = Progress("the ledger is being checked")

        def reached(records: int) -> None:
            stop.require_going_on()
            progress.reached(records)

        work = functools.partial(verify, self._database, anchors, reached, stop.use)
        try:
            self._future = self._thread.submit(work)
        except RuntimeError as error:
            stop.stop()  # Without another thread it may be in the queue all the same.
            raise unavailable("closed") from error
        self._begun = time.monotonic()
        try:
            return await asyncio.wrap_future(self._future)
        except _StoppedError as error:
            raise unavailable("closed") from error
        except self._database.errors as error:
            raise unavailable("closed" if stop.stopped else cause_of(error)) from error
        finally:
            stop.stop()

    def close(self) -> None:
        """Ends a check that is running."""
        self._stop.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)


class _StoppedError(Exception):
    """Nobody waits for the check any more."""


class _Stop:
    """Ends a check from another thread: between two pages, and amid what SQLite does by itself for long."""

    def __init__(self) -> None:
        self.stopped = False
        self._lock = threading.Lock()
        self._driver: Any = None

    def use(self, connection: Connection | None) -> None:
        """Notes what the check uses; None once it does no more, for somebody else may have the connection next."""
        with self._lock:
            self._driver = None if connection is None else connection.connection.driver_connection
        if connection is not None:
            self.require_going_on()

    def require_going_on(self) -> None:
        """Raises _StoppedError where the check is to end."""
        if self.stopped:
            raise _StoppedError

    def stop(self) -> None:
        """Ends the check soon; does nothing where it has ended."""
        with self._lock:
            self.stopped = True
            # SQLite looks at its indexes in one statement. The statements of a PostgreSQL are a page each.
            if hasattr(self._driver, "interrupt"):
                self._driver.interrupt()


def _running_already(seconds: float) -> Exception:
    message = (
        f"a check of the ledger is running already, for {seconds:.0f} s now, and the broker does one at a time; "
        "try again when it has ended"
    )
    return rate_limited(message, limit="checks of the ledger", per="broker", retry_after=_COME_BACK_SECONDS)
