"""When the next try for a token is due, and by which way: a stream, or calls where streams do not last. No I/O."""

import random

from valetkey.calls import retries
from valetkey.clock_through_suspend import now
from valetkey.errors import (
    BrokerUnreachableError,
    DeadlineExceededError,
    UnavailableError,
    ValetKeyError,
    WatchEndedError,
)
from valetkey.renewal.held_token import HeldToken

# When a call is made for the next token, as a share of a token's life: as brokers do it in streams.
_EARLIEST, _LATEST = 0.6, 0.75
# After so many streams that were no steady ones, calls take over for a while.
_MOST_CUTS, _CALLS_SECONDS = 3, 300.0
# After a fork there is another stream once this share of a life is over: each is a lease, and forks come in rows.
_AFTER_FORK = 0.05
_LONGEST_PAUSE, _LONGEST_PAUSE_OF_REFUSED = 15.0, 60.0
_FIRST_PAUSE_OF_REFUSED = 1.0


def passes(error: ValetKeyError) -> bool:
    """Tells whether an error may pass by itself within seconds."""
    if isinstance(error, WatchEndedError):
        return error.interrupted or error.reason in ("UNAVAILABLE", "ISSUER_UNAVAILABLE")
    return isinstance(error, (UnavailableError, DeadlineExceededError))


class Pacing:
    """Decides after each try."""

    def __init__(self) -> None:
        self._tries = 0
        self._began: float | None = None
        self._cuts = 0
        self._calls_until = 0.0
        self._cut_short = False  # The last stream made way for a fork before it brought anything.

    @property
    def by_calls(self) -> bool:
        """Whether the next token is asked for with a call."""
        return self._cut_short or now() < self._calls_until

    def succeeded(self) -> None:
        """Notes that a token came."""
        self._tries, self._began, self._cut_short = 0, None, False

    def stream_ended(self, error: ValetKeyError, lived: float, tokens: int) -> None:
        """Notes how a stream ended, which lived for some seconds and brought some tokens."""
        if error.code == "UNIMPLEMENTED":
            self._calls_until = float("inf")
        elif error.metadata.get("limit") == "streams":
            self._calls_until = now() + _CALLS_SECONDS
        elif lived >= retries.STEADY and tokens:
            self._cuts = 0
        elif passes(error) and not isinstance(error, BrokerUnreachableError) and not _stops(error):
            self._cuts += 1
            if self._cuts >= _MOST_CUTS:
                self._cuts, self._calls_until = 0, now() + _CALLS_SECONDS

    def failed(self, error: ValetKeyError, held: HeldToken | None) -> tuple[float | None, bool]:
        """Returns when the next try is due, None for when somebody asks, and whether those who wait are to be told."""
        self._tries, self._cut_short = self._tries + 1, False
        self._began = now() if self._began is None else self._began
        pause = self._pause(error)
        tell = not passes(error) or now() + pause > self._began + retries.WINDOW
        if tell:
            self._began = None
        if held is None or not held.good():
            return (None if tell else now() + pause), tell
        # While the old token lives nobody waits; towards its end it is tried more often.
        left = held.useful_until - now()
        return now() + min(pause, max(left / 4, retries.FIRST_PAUSE)), tell

    def renewal(self, held: HeldToken) -> float:
        """Returns when to make the call for the next token."""
        return held.at(random.uniform(_EARLIEST, _LATEST))  # noqa: S311 (jitter)

    def after_fork(self, held: HeldToken | None) -> float:
        """Returns when the next try is due after a stream that made way for a fork; `held` is what it had brought.

        After one that had brought nothing it is a call, for which forks wait: streams would make way for one fork after
        the other where these come faster than tokens, each a lease that nobody has.
        """
        self._cut_short = held is None
        if held is None or not held.good():
            return now()
        return min(now() + held.life * _AFTER_FORK, self.renewal(held))

    def earliest(self, error: ValetKeyError | None, last_try: float) -> float:
        """Returns when somebody who asks may have the next try, after one that failed."""
        if error is None:
            return now()
        return last_try + (retries.FIRST_PAUSE if passes(error) else _FIRST_PAUSE_OF_REFUSED)

    def _pause(self, error: ValetKeyError) -> float:
        first, longest = retries.FIRST_PAUSE, _LONGEST_PAUSE
        if not passes(error):
            first, longest = _FIRST_PAUSE_OF_REFUSED, _LONGEST_PAUSE_OF_REFUSED
        elif isinstance(error, BrokerUnreachableError):
            longest = 2.0  # a broker that is back is to be found
        return retries.pause_after(self._tries, longest, error, first)


def _stops(error: ValetKeyError) -> bool:
    return error.reason in ("SHUTDOWN", "NOT_SERVING")
