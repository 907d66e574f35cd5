"""The ledger on a SQL database: a writer with its chain, readers in threads, and the daily pruning."""

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from valetkey_broker.concurrency.background_jobs import keep_going
from valetkey_broker.concurrency.backoff import spread
from valetkey_broker.errors import BrokerError
from valetkey_broker.ledger.appender import make_appender
from valetkey_broker.ledger.database import Database, explain
from valetkey_broker.ledger.errors import cause_of, unavailable
from valetkey_broker.ledger.progress_log import Progress
from valetkey_broker.ledger.prune import apply_cut, find_cuts, forget_ended
from valetkey_broker.ledger.reader import read_events, read_leases
from valetkey_broker.ledger.verification_runner import Checker
from valetkey_broker.ledger.writer import GroupWriter
from valetkey_broker.model import Event, EventFilter, Head, LeaseFilter, StoredEvent, Verification
from valetkey_broker.observability.counters import COMMIT_SECONDS, Histogram
from valetkey_broker.ports import Clock
from valetkey_broker.settings import LedgerSettings

_T = TypeVar("_T")
_DAY = 24 * 3600.0
_FIRST_PRUNING = 3600.0
_PATIENCE = 60.0


class SqlLedger:
    """Records decisions in SQLite or PostgreSQL; see ports.Ledger and docs/ledger.md.

    Making one raises ConfigurationError where the settings name no usable database.
    """

    def __init__(self, settings: LedgerSettings, clock: Clock = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._database = Database(settings.watched_url(), settings.timeout_seconds)
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="ledger-reader")
        self._checker = Checker(self._database)
        self._writer: GroupWriter | None = None
        self._pruning: asyncio.Task[None] | None = None
        self._log = structlog.get_logger()

    @property
    def writer_id(self) -> str:
        """The name of this process's chain, a UUID; empty before `open`."""
        return self._writer.writer if self._writer else ""

    @property
    def waiting(self) -> int:
        """How many records wait to be written."""
        return self._writer.waiting if self._writer else 0

    @property
    def commit_seconds(self) -> Histogram:
        """How long transactions took; those that failed, too."""
        return self._writer.commit_seconds if self._writer else Histogram(COMMIT_SECONDS)

    async def open(self) -> None:
        """Makes the tables and begins a chain.

        A PostgreSQL that is away is waited for in the background: nothing can be recorded until it is there. Raises
        ConfigurationError where the database cannot be used as it is.
        """
        appender = make_appender(self._database)
        writer = GroupWriter(appender, self._database.migrate, self._settings.timeout_seconds)
        cause = ""
        try:
            await self._prepare(writer)
        except self._database.errors as error:
            cause = cause_of(error)
            if cause != "database-away":
                appender.close()
                raise explain(self._database, error) from None
            self._log.warning("the ledger's database does not answer yet", database=self._database.name)
        writer.start(cause)
        self._writer = writer
        self._pruning = asyncio.create_task(keep_going("ledger-pruning", self._prune_daily), name="ledger-pruning")
        self._log.info("ledger opened", database=self._database.name, writer=writer.writer)

    async def _prepare(self, writer: GroupWriter) -> None:
        """Raises TimeoutError where a database does not answer; one that is being migrated takes the time it takes."""
        preparing = asyncio.create_task(self._in_thread(writer.prepare))
        while not (await asyncio.wait({preparing}, timeout=_PATIENCE))[0]:
            if not (self._database.migrating or self._database.migrated_lately):
                preparing.cancel()
                raise TimeoutError("the ledger's database does not answer")
            self._database.migrated_lately = self._database.migrating
            self._log.info("the ledger's tables are still being changed for this version", database=self._database.name)
        await preparing

    async def record(self, *events: Event) -> None:
        """Records `events`, all or none; returns once they are durable."""
        if self._writer is None:
            raise unavailable("closed")
        await self._writer.record(*events)

    async def events(self, wanted: EventFilter) -> Sequence[StoredEvent]:
        """Returns events by id, oldest first."""
        return await self._read(functools.partial(read_events, self._database, wanted))

    async def leases(self, wanted: LeaseFilter) -> Sequence[StoredEvent]:
        """Returns the events of issued tokens, newest first."""
        return await self._read(functools.partial(read_leases, self._database, wanted))

    async def verify(self, anchors: Sequence[Head] = ()) -> Verification:
        """Checks every chain, and that each anchor is still in it; RATE_LIMITED while another check is running."""
        if self._writer is None:
            raise unavailable("closed")
        return await self._checker.check(anchors)

    async def prune(self, before: float) -> int:
        """Removes what was recorded before `before` (Unix seconds) and returns how many records that were."""
        now = self._clock()
        removed = 0
        progress = Progress("the ledger is being pruned")
        for cut in await self._read(functools.partial(find_cuts, self._database, before, now)):
            await self.record(cut.event(now))
            await self._read(functools.partial(apply_cut, self._database, cut, now, progress.more))
            removed += cut.records
        await self._read(functools.partial(forget_ended, self._database, before))
        return removed

    def healthy(self) -> bool:
        """Tells whether the last write went through; recovers by itself."""
        return self._writer is not None and self._writer.healthy()

    async def close(self) -> None:
        """Writes what waits, then closes. Never raises."""
        if self._pruning is not None:
            self._pruning.cancel()
            await asyncio.gather(self._pruning, return_exceptions=True)
        if self._writer is not None:
            await self._writer.close()
        self._checker.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._database.close()

    async def _prune_daily(self) -> None:
        # At a time of its own in every worker: the first one does the work, the others find it done.
        await asyncio.sleep(spread(_FIRST_PRUNING / 2, 0.98))
        while True:
            try:
                removed = await self.prune(self._clock() - self._settings.retention_days * _DAY)
                self._log.info("ledger pruned", records=removed, retention_days=self._settings.retention_days)
            except BrokerError as error:
                self._log.warning("the ledger could not be pruned", cause=error.metadata.get("cause", ""))
            await asyncio.sleep(spread(_DAY, 0.1))

    async def _read(self, work: Callable[[], _T]) -> _T:
        if self._writer is None:
            raise unavailable("closed")
        try:
            return await self._in_thread(work)
        except self._database.errors as error:
            raise unavailable(cause_of(error)) from error
        except RuntimeError as error:
            raise unavailable("closed") from error  # The threads have been shut down.

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
