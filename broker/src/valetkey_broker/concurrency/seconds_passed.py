"""Seconds that passed, with those in which the machine was suspended: ages of what was learnt from others."""

import time
from collections.abc import Callable
from functools import partial

_Clock = Callable[[], float]
# Of a clock that only goes a little faster or slower nobody is told: such a correction takes longer than this.
_STEP_SECONDS = 1.0
# The clocks are read one after the other. A process that was stopped in between tries again.
_AT_ONCE_SECONDS = 0.05


# Where there is no clock of the first kind, as on macOS, the other counts on while the machine is suspended.
_since_boot = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class SecondsPassed:
    """A clock that never goes back, and misses nothing. While a machine is suspended, `time.monotonic` stands still.

    A step forward of the wall clock counts as well, for by nothing else does a virtual machine hear that it was paused.
    So whoever sets that clock forward makes all that is known older, and never younger.
    """

    def __init__(
        self, running: _Clock = time.monotonic, since_boot: _Clock = _since_boot, wall: _Clock = time.time
    ) -> None:
        self._running, self._since_boot, self._wall = running, since_boot, wall
        self._stepped = 0.0
        self._suspended = 0.0
        self._ahead = wall() - since_boot()
        self.look()

    def __call__(self) -> float:
        """Returns seconds since some moment."""
        return self.look()[0]

    def missed(self) -> float:
        """Returns how many seconds no timer has counted, since some moment."""
        return self.look()[1]

    def look(self) -> tuple[float, float]:
        """Returns both, for who asks at every call: it takes about a microsecond."""
        while True:
            now = self._since_boot()
            running, wall = self._running(), self._wall()
            if self._since_boot() - now < _AT_ONCE_SECONDS:
                break
        self._suspended = max(self._suspended, now - running)
        ahead = wall - now
        if ahead - self._ahead > _STEP_SECONDS:
            self._stepped += ahead - self._ahead
        self._ahead = ahead
        return now + self._stepped, self._suspended + self._stepped


seconds_passed = SecondsPassed()
"""The one of this process."""
