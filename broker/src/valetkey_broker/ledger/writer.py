"""Group commit: a thread of its own writes all that have gathered in one transaction, then wakes them all.

What is recorded together is written together, however much it is.

The chain lives in that thread. It moves on only when a write is known to have gone through: after every failure the
writer reads from the database which of its records is the last one there before it writes again, because a commit
whose answer was lost may have happened.
"""

import asyncio
import contextlib
import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence

import structlog

from valetkey_broker.concurrency.backoff import Backoff
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.ledger.appender import Appender
from valetkey_broker.ledger.chain import GENESIS, Row, extend
from valetkey_broker.ledger.errors import LostHeadError, cause_of, unavailable
from valetkey_broker.ledger.write_batching import Batch, Gathering, Item
from valetkey_broker.model import Event, Head
from valetkey_broker.observability.counters import COMMIT_SECONDS, Histogram

MAX_WAITING = 10_000
"""How many records may wait; one more is refused at once."""
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0
_WATCH_EVERY = 0.5


class GroupWriter:
    """Appends events to the ledger in one chain, from the event loop it is started in.

    `prepare` makes the tables; it is called until it has gone through once. `timeout` is in seconds.
    """

    def __init__(self, appender: Appender, prepare: Callable[[], object], timeout: float) -> None:
        self._appender = appender
        self._prepare = prepare
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._gathering = Gathering(self._queue.put)
        self._waiting = 0
        self._cause = ""
        self._hanging_since = 0.0
        self._closed = False
        self._log = structlog.get_logger()
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._watching: asyncio.Task[None] | None = None
        # From here on the thread's own, once it runs; `_current` and `_busy_since` are read by the watch.
        self._head = Head(str(uuid.uuid4()), 0, GENESIS)
        self._unconfirmed: dict[tuple[int, str], Head] = {}
        self._prepared = False
        self.commit_seconds = Histogram(COMMIT_SECONDS)
        self._current: Batch = []
        self._busy_since = 0.0
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)

    @property
    def writer(self) -> str:
        """The name of this writer's chain."""
        return self._head.writer

    @property
    def waiting(self) -> int:
        """How many records wait."""
        return self._waiting

    def healthy(self) -> bool:
        """Tells whether the last write went through."""
        return not self._why_not() and not self._closed

    def prepare(self) -> None:
        """Connects for the first time; called in another thread, before `start`. Raises what goes wrong."""
        self._connect()

    def start(self, cause: str = "") -> None:
        """Starts the thread; with a `cause` it begins by trying to connect."""
        self._cause = cause
        self._thread.start()
        self._watching = asyncio.create_task(self._watch(), name="ledger-watch")

    async def record(self, *events: Event) -> None:
        """Returns when all `events` are durable. Raises BrokerError with LEDGER_UNAVAILABLE: then none is issued on."""
        if self._closed:
            raise unavailable("closed")
        if cause := self._why_not():
            raise unavailable(cause)
        if self._waiting >= MAX_WAITING:
            raise unavailable("too-many-waiting")
        future = self._loop.create_future()
        self._waiting += len(events)
        self._gathering.add((events, future))
        await future

    async def close(self) -> None:
        """Writes what waits, then ends the thread; gives up on one that hangs."""
        if self._closed:
            return
        self._closed = True
        while batch := self._gathering.take():
            self._queue.put(batch)
        self._queue.put(None)
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, self._timeout + 1.0)
            if self._thread.is_alive():
                self._appender.interrupt()
                self._answer([*self._current, *self._drain()], "closed")
        else:
            self._appender.close()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    def _run(self) -> None:
        pause = self._backoff.next() if self._cause else 0.0
        try:
            while (batch := self._next(pause)) is not None:
                if not pause and batch:
                    pause = self._write(batch)
                elif pause:
                    self._finish(batch, self._cause)
                    pause = self._recover()
        finally:
            self._appender.close()

    def _next(self, pause: float) -> Batch | None:
        """Returns what is to be written; nothing where the pause, in seconds, ends first; None at the end."""
        try:
            return self._queue.get(timeout=pause or None)
        except queue.Empty:
            return []

    def _write(self, batch: Batch) -> float:
        """Writes a batch and tells those who wait. Returns the pause: 0 where it went through."""
        self._current = batch
        self._busy_since = time.monotonic()
        cause = ""
        try:
            rows, head = extend(self._head, [event for events, _ in batch for event in events])
            self._unconfirmed[head.sequence, head.hash] = head
            self._append(rows, head)
            self._confirmed(head)
        except Exception as error:  # noqa: BLE001 (whatever it is: not written, nothing may be issued)
            cause = self._log_cause(error)
        self._cause = cause
        took = time.monotonic() - self._busy_since
        self.commit_seconds.observe(took)
        self._busy_since = 0.0
        self._finish(batch, cause, took)
        return self._backoff.next() if cause else 0.0

    def _append(self, rows: Sequence[Row], head: Head) -> None:
        try:
            self._appender.append(self._head, rows)
        except Exception as error:
            if cause_of(error) != "database-away":
                raise
            # The connection ended, perhaps long ago, with a restart of the database: nobody has to hear of that where
            # a new one can be had at once. It also tells whether the rows are there and only the answer got lost.
            self._connect()
            if self._head != head:
                self._unconfirmed[head.sequence, head.hash] = head
                self._appender.append(self._head, rows)

    def _recover(self) -> float:
        """Tries to get the database back. Returns the next pause: 0 where it is back."""
        self._busy_since = time.monotonic()
        try:
            self._connect()
            self._appender.probe()
        except Exception as error:  # noqa: BLE001 (it is tried again until it works)
            self._cause = self._log_cause(error)
            return self._backoff.next()
        finally:
            self._busy_since = 0.0
        self._cause = ""
        self._backoff.reset()
        self._log.info("the ledger can be written again", writer=self.writer, sequence=self._head.sequence)
        return 0.0

    def _connect(self) -> None:
        if not self._prepared:
            self._prepare()
            self._prepared = True
        self._appender.connect()
        found = self._appender.head(self.writer)
        if found in self._unconfirmed:
            self._confirmed(self._unconfirmed[found])
        elif found[0] != self._head.sequence or (found[0] and found[1] != self._head.hash):
            raise LostHeadError

    def _confirmed(self, head: Head) -> None:
        self._head = head
        self._unconfirmed.clear()

    def _log_cause(self, error: Exception) -> str:
        # The type only: a driver's text can hold values.
        cause = "error" if isinstance(error, ConfigurationError) else cause_of(error)
        if cause != self._cause:
            self._log.error("the ledger cannot be written", cause=cause, error=type(error).__name__, writer=self.writer)
        return cause

    def _finish(self, batch: Batch, cause: str, took: float = 0.0) -> None:
        self._current = []
        if batch:
            with contextlib.suppress(RuntimeError):  # The loop was closed under us: nobody waits any more.
                self._loop.call_soon_threadsafe(self._finished, batch, cause, took)

    # What follows runs in the event loop.

    def _finished(self, batch: Batch, cause: str, took: float) -> None:
        self._answer(batch, cause)
        self._gathering.written(batch, None if cause else took)

    def _answer(self, batch: Batch, cause: str) -> None:
        """Tells those who wait that what they recorded is durable, or why it is not."""
        for events, future in batch:
            self._waiting -= len(events)
            if future.done():
                continue
            if cause:
                future.set_exception(unavailable(cause))
            else:
                future.set_result(None)

    def _drain(self) -> Batch:
        drained: list[Item] = []
        while batch := self._gathering.take():
            drained += batch
        with contextlib.suppress(queue.Empty):
            while (queued := self._queue.get_nowait()) is not None:
                drained += queued
                # The thread cannot say so of what it did not get.
                self._gathering.written(queued, None)
            self._queue.put(None)  # The end is the thread's to see.
        return drained

    def _why_not(self) -> str:
        """Returns the cause for which nothing can be written now; nothing where it can."""
        # What was found to hang may end at any moment, and does not tell: the thread has nothing more to say then.
        hangs = self._busy_since and self._busy_since == self._hanging_since
        return self._cause or ("timeout" if hangs else "")

    async def _watch(self) -> None:
        """Lets nobody wait for a write that hangs; what ends it may take the operating system as long as it likes."""
        while True:
            await asyncio.sleep(_WATCH_EVERY)
            since = self._busy_since
            if not since or time.monotonic() - since < self._timeout + 1.0:
                continue
            if not self._why_not():
                self._log.error("the ledger hangs", writer=self.writer)
                self._hanging_since = since
            # Those of the batch itself are counted off when the thread comes back with them.
            for _, future in list(self._current):
                if not future.done():
                    future.set_exception(unavailable("timeout"))
            self._answer(self._drain(), "timeout")
            self._appender.interrupt()
