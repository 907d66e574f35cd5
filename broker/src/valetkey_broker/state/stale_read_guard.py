"""Readings of Vault overlap: which of them is the later one."""

import contextlib
from collections.abc import Iterator


class StaleReadGuard:
    """Each reading draws a number as it begins; memory never goes back to one that began earlier."""

    def __init__(self) -> None:
        self._begun = 0
        self._under_way: set[int] = set()
        self._taken: dict[str, int] = {}  # path → the reading it was taken from, while an earlier one is under way

    @contextlib.contextmanager
    def reading(self) -> Iterator[int]:
        """Gives the number of a reading that begins now. What this process writes is, once written, a reading, too."""
        self._begun += 1
        number = self._begun
        self._under_way.add(number)
        try:
            yield number
        finally:
            self._under_way.discard(number)
            if not self._under_way:
                self._taken.clear()

    def take(self, path: str, number: int) -> bool:
        """Tells whether a path may be taken over from that reading: it was from none that began later."""
        if self._taken.get(path, 0) > number:
            return False
        self._taken[path] = number
        return True
