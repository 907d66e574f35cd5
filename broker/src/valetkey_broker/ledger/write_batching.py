"""What waits for the ledger gathers in the event loop, and is written a batch at a time.

A transaction costs about as much for one record as for ten, and so does waking the thread that writes it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from valetkey_broker.model import Event

MAX_BATCH = 256
"""Of so many records no more are added to what is written at once."""
# For each of those who are expected, so long is waited; who expects nobody does not wait.
_LINGER_EACH = 0.0005
_LONGEST_LINGER = 0.015
# Where the machine is busy, or its disk is slow, too few would come in that time to be worth it. From three callers on
# it is twice as long as the transaction before took, but no longer than this: there are few of those that take as long
# for the disk, so that fewer still would save next to no work and keep each caller waiting.
_LONGEST_LINGER_OF_MANY = 0.02
_MANY = 3
# Nobody is expected any more so long after a transaction that nobody came behind.
_FORGOTTEN_SECONDS = 0.1

Item = tuple[Sequence[Event], asyncio.Future[None]]
"""What is recorded together, and what tells that it is durable."""
Batch = Sequence[Item]


class Gathering:
    """Hands what is added to `write`, one batch at a time: the next once it was told that the one before is `written`.

    Callers who were just answered mostly come again, and those who came meanwhile are there already: so many are
    expected. As soon as they are there what has gathered is written; those who stay away are waited for a moment,
    and not the next time.
    """

    def __init__(self, write: Callable[[Batch], None]) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._items: deque[Item] = deque()
        self._records = 0
        self._writing = False
        self._expected = 1
        self._took = 0.0
        self._ended = 0.0
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: Item) -> None:
        """Takes what is to be written."""
        if not (self._items or self._writing) and self._loop.time() - self._ended > _FORGOTTEN_SECONDS:
            self._expected = 1
        self._items.append(item)
        self._records += len(item[0])
        if not self._writing:
            self._look()

    def written(self, batch: Batch, took: float | None) -> None:
        """Goes on behind `batch`, which took so many seconds; None where it failed: that says nothing of the next."""
        self._writing = False
        self._ended = self._loop.time()
        self._expected = len(batch) + len(self._items)
        if took is not None:
            self._took = took
        if self._items:
            self._look()

    def take(self) -> Batch:
        """Takes out as much as is written at once; nothing where nothing waits."""
        self._unplan()
        batch: list[Item] = []
        records = 0
        while self._items and records < MAX_BATCH:
            batch.append(self._items.popleft())
            records += len(batch[-1][0])
        self._records -= records
        return batch

    def _look(self) -> None:
        if self._records >= MAX_BATCH or len(self._items) >= self._expected:
            # Those whose turn is in this round of the loop come along.
            self._soon = self._soon or self._loop.call_soon(self._hand_over)
        elif self._timer is None:
            self._timer = self._loop.call_later(self._linger(), self._hand_over)

    def _linger(self) -> float:
        """Returns for how many seconds those who are expected are waited for."""
        linger = min(self._expected * _LINGER_EACH, _LONGEST_LINGER)
        if self._expected < _MANY:
            return linger
        return max(linger, min(2 * self._took, _LONGEST_LINGER_OF_MANY))

    def _hand_over(self) -> None:
        batch = self.take()
        self._writing = True
        self._write(batch)

    def _unplan(self) -> None:
        for handle in (self._soon, self._timer):
            if handle is not None:
                handle.cancel()
        self._soon = self._timer = None
