"""The one policy for trying again: pauses that double up to a limit, and are spread at random."""

import random


class Backoff:
    """The pauses of one thing that is tried again, in seconds: about `first`, then twice as much each time, at most
    about `most`.

    Each pause is spread by `spread` (0.2: between 0.8 and 1.2 times as long), so that those who failed together do
    not come back together; with 1.0 it is anywhere between nothing and twice as long.
    """

    def __init__(self, first: float, most: float, spread: float = 0.2) -> None:
        self._first = first
        self._most = most
        self._spread = spread
        self._pause = first

    def next(self) -> float:
        """Returns the seconds to wait before the next attempt; the pause after that one is longer."""
        pause = self._pause
        self._pause = min(pause * 2, self._most)
        return spread(pause, self._spread)

    def reset(self) -> None:
        """Begins with the first pause again: to be called after a success."""
        self._pause = self._first


def spread(seconds: float, share: float = 0.2) -> float:
    """Returns about `seconds`, at random within `share` of it to either side."""
    return seconds * random.uniform(1 - share, 1 + share)  # noqa: S311 (spreads load, guards nothing)
