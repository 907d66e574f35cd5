"""A fork of this process, for which feeds keep out of gRPC: its child could not use gRPC with a call under way here."""

import contextlib
import threading
import time
from collections.abc import Iterable
from queue import Empty, SimpleQueue

from valetkey.clock_through_suspend import now
from valetkey.renewal.attempts import Attempt

# To cancel a stream takes milliseconds. What takes longer, as a call without an answer, holds up no fork, nor does one
# such call hold up several for longer than that.
_SECONDS = 5.0
# gRPC's own threads have a little to do yet, and tell nobody when it is done.
_SETTLING = 0.01
# Nor is a feed held up by a fork of which the end was never told.
_LONGEST = 30.0


class Fork:
    """What the thread that forks waits for. Where Ctrl-C came amid a step, the same step goes on from there."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        """`seconds` is how long it waits at most."""
        self._begins_by = now() + seconds
        self._made_way = threading.Semaphore(0)
        self._asked: dict[ForksOfFeed, None] = {}
        self._waited_for = 0

    def ask(self, feed: "ForksOfFeed") -> None:
        """Has one feed more make way."""
        if feed not in self._asked:
            self._asked[feed] = None
            feed.begins(self)

    def wait(self) -> None:
        """Waits until all feeds that were asked have made way, or for as long as it waits at most."""
        while self._waited_for < len(self._asked):
            self._made_way.acquire(timeout=self.seconds_left())
            self._waited_for += 1

    def made_way(self) -> None:
        """Notes that a feed has made way."""
        self._made_way.release()

    def over(self) -> None:
        """Lets feeds go on."""
        for feed in self._asked:
            feed.ends(self)

    def seconds_left(self) -> float:
        """Returns for how long it waits yet."""
        return max(self._begins_by - now(), 0.0)


class ForksOfFeed:
    """The forks that one feed makes way for, beside its inbox: one that has made way answers others that begin then.

    If it answered them once the first is over, two forks could wait for each other, each at a feed that has made way
    for the other one; so could a fork in a signal handler for the one that it came amid.
    """

    def __init__(self) -> None:
        self._told: SimpleQueue[tuple[Fork, bool]] = SimpleQueue()

    def begins(self, fork: Fork) -> None:
        """Tells of a fork."""
        self._told.put((fork, True))

    def ends(self, fork: Fork) -> None:
        """Tells that it is over."""
        self._told.put((fork, False))

    def let_pass(self, attempts: Iterable[Attempt]) -> None:
        """Answers forks once the feed's attempts are over, and waits until all that were answered are."""
        under_way: set[Fork] = set()
        end = now() + _LONGEST
        with contextlib.suppress(Empty):
            while True:
                fork, begins = self._told.get(timeout=max(end - now(), 0.0) if under_way else 0.0)
                if begins:
                    _end(attempts, fork)
                    under_way.add(fork)
                    fork.made_way()
                elif fork in under_way:
                    under_way.remove(fork)
                    if not under_way:
                        return  # The next one may have begun already, and yet a feed has other things to do between.

    def hold_up_none(self) -> None:
        """Answers all, for a feed that has ended."""
        with contextlib.suppress(Empty):
            while True:
                self._told.get_nowait()[0].made_way()

    def __bool__(self) -> bool:
        return not self._told.empty()


def _end(attempts: Iterable[Attempt], fork: Fork) -> None:
    """Waits for the threads of attempts that were cancelled."""
    if running := [each for each in attempts if each.runs]:
        for each in running:
            each.join(min(fork.seconds_left(), max(each.asked + _SECONDS - now(), 0.0)))
        settle()


def settle() -> None:
    """Gives gRPC's own threads time to be done with a call that is over."""
    time.sleep(_SETTLING)
