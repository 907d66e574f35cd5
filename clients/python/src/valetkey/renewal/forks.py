"""A fork of this process, for which feeds keep out of gRPC: its child could not use gRPC with a call under way here."""

import contextlib
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any

from valetkey.clock_through_suspend import now
from valetkey.renewal.attempts import Attempt

# To cancel a stream takes milliseconds. What takes longer, as a call without an answer, holds up no fork.
_SECONDS = 5.0
# gRPC's own threads have a little to do yet for a call that is over, and tell nobody when it is done.
_SETTLING = 0.01
# Nor is a feed held up by a fork of which the end was never told.
_LONGEST = 30.0


class Fork:
    """What the thread that forks and the threads of feeds tell each other."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        """`seconds` is how long it waits at most."""
        self._begins_by = now() + seconds
        self._made_way = threading.Semaphore(0)
        self._over = threading.Event()

    def wait_for(self, feeds: int) -> None:
        """Waits until so many feeds have made way, or for as long as it waits at most."""
        for _ in range(feeds):
            self._made_way.acquire(timeout=self._seconds_left())

    def let_pass(self, attempts: list[Attempt]) -> None:
        """Notes that a feed has made way once its attempts are over, and waits until the fork is."""
        running = [each for each in attempts if each.runs]
        for each in running:
            each.join(self._seconds_left())
        if running:
            time.sleep(_SETTLING)
        self.made_way()
        self._over.wait(_LONGEST)

    def made_way(self) -> None:
        """Notes that a feed has made way."""
        self._made_way.release()

    def over(self) -> None:
        """Lets feeds go on."""
        self._over.set()

    def _seconds_left(self) -> float:
        return max(self._begins_by - now(), 0.0)


def hold_up_none(inbox: "SimpleQueue[Any]") -> None:
    """Answers the forks in the inbox of a feed that has ended."""
    with contextlib.suppress(Empty):
        while True:
            if isinstance(event := inbox.get_nowait(), Fork):
                event.made_way()
