"""Slots: how many of a thing there may be at once for each key."""

import contextlib
from collections import Counter
from collections.abc import Iterator


class Slots:
    """Counts what is open. Only keys with something open take memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """How many are open, of all keys."""
        return self._open.total()

    @contextlib.contextmanager
    def hold(self, key: str) -> Iterator[bool]:
        """Gives True and holds a slot of `key` while the block runs; gives False where all are taken."""
        if self._open[key] >= self._most:
            if not self._open[key]:
                del self._open[key]
            yield False
            return
        self._open[key] += 1
        try:
            yield True
        finally:
            self._open[key] -= 1
            if self._open[key] <= 0:
                del self._open[key]
