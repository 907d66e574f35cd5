"""When a call is tried again, unseen by whoever made it: it was never handed over, or doing it twice does no harm."""

import random
import time

from valetkey.clock_through_suspend import now
from valetkey.errors import (
    BrokerUnreachableError,
    ConnectionLostError,
    UnavailableError,
    ValetKeyError,
    WatchEndedError,
)
from valetkey.token_values import Token, life_of

# A broker restarts in 2 to 7 s. gRPC's own retries end after five attempts, and would hide for as long that a
# certificate is not trusted.
WINDOW = 10.0
FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 2.0
# A stream that lived so long was no flash in the pan: what comes next begins with the shortest pause again.
STEADY = 30.0
_LONGEST_PAUSE_UNREACHABLE, _LONGEST_PAUSE_OF_STREAMS = 3.0, 15.0


class Retries:
    """The tries of one call, begun now. `timeout` is that of all of them together, in seconds.

    `repeatable` tells that the call may be done twice: a read, or a token, of which a second one is a lease more.
    """

    def __init__(self, timeout: float, *, repeatable: bool) -> None:
        self._begun = time.monotonic()
        self._deadline = self._begun + timeout
        self._repeatable = repeatable
        self._tries = 0

    @property
    def seconds_left(self) -> float:
        """How long the next try may take."""
        return max(self._deadline - time.monotonic(), 0.001)

    def pause(self, error: ValetKeyError) -> float | None:
        """Returns how many seconds to wait before the next try, None where there is none."""
        self._tries += 1
        never_sent = isinstance(error, BrokerUnreachableError) or error.reason == "NOT_SERVING"
        lost = isinstance(error, ConnectionLostError) or _interrupted(error)
        if not (never_sent or (lost and self._repeatable)):
            return None
        pause = pause_after(self._tries, _LONGEST_PAUSE, error)
        # It can take long to find out that a connection is dead; a new one is worth a try all the same.
        if time.monotonic() + pause > self._begun + WINDOW and not (lost and self._tries == 1):
            return None
        return pause if time.monotonic() + pause < self._deadline else None


class Reconnections:
    """How a stream of tokens goes on after what may pass: a restart of the broker, a cut, an outage.

    Until there is a first token, as a call does; afterwards as long as the last token lives, and at least as long as
    a restart takes. `timeout` is that of a call, in seconds.
    """

    def __init__(self, timeout: float) -> None:
        self._first: Retries | None = Retries(timeout, repeatable=True)
        self._ends = now()
        self._opened = now()
        self._lost: float | None = None
        self._tries = 0

    def opening(self) -> None:
        """Notes that a stream is asked for now."""
        self._opened = now()

    def heard(self, token: Token) -> None:
        """Notes that a token came; how long it lives, the broker's clock says."""
        self._first = None
        self._lost = None
        self._ends = now() + life_of(token)

    def pause(self, error: ValetKeyError) -> float | None:
        """Returns how many seconds to wait before the next stream, None where the error is the last word."""
        if self._first:
            return self._first.pause(error)
        if not isinstance(error, UnavailableError) and not _interrupted(error):
            return None
        if now() - self._opened > STEADY:
            self._tries = 0
        self._tries += 1
        self._lost = now() if self._lost is None else self._lost
        unreachable = isinstance(error, BrokerUnreachableError)
        pause = pause_after(
            self._tries, _LONGEST_PAUSE_UNREACHABLE if unreachable else _LONGEST_PAUSE_OF_STREAMS, error
        )
        return pause if now() + pause < max(self._ends, self._lost + WINDOW) else None


def _interrupted(error: ValetKeyError) -> bool:
    return isinstance(error, WatchEndedError) and error.interrupted


def pause_after(tries: int, longest: float, error: ValetKeyError, first: float = FIRST_PAUSE) -> float:
    """Returns how many seconds to wait after so many tries that failed: more each time, or what the broker asks for."""
    pause = min(first * 2.0 ** min(tries - 1, 10), longest) * random.uniform(0.5, 1)  # noqa: S311 (jitter)
    return max(pause, error.retry_delay.total_seconds()) if error.retry_delay is not None else pause
