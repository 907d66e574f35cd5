"""A clock of this machine that cannot be set, and goes on while the machine sleeps: the lives of tokens do so, too."""

import sys
import time


def clock_of(platform: str) -> int | None:
    """Returns which clock of `time` that is on a platform; None where `time.monotonic` is one, or there is no other.

    Source: clock_gettime(2) of Linux; on macOS `time.monotonic` is mach_absolute_time, which stands still, and
    CLOCK_MONOTONIC_RAW goes on (CPython's issue 86273).
    """
    found: int | None = getattr(time, "CLOCK_MONOTONIC_RAW" if platform == "darwin" else "CLOCK_BOOTTIME", None)
    return found


_CLOCK = clock_of(sys.platform)


def now() -> float:
    """Returns seconds of that clock."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
