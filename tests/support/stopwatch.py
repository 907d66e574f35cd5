"""Assertions on how long something takes, of the only kind that holds on every machine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

LEAST_SECONDS = 10.0


@contextmanager
def ends_within(seconds: float = LEAST_SECONDS) -> Iterator[None]:
    """Fails where what is inside takes longer.

    It tells what comes at once from what waits in vain, not fast from slow: a busy machine takes many times as long as
    an idle one. So it wants at least LEAST_SECONDS, and what it is held against (a timeout, a grace period, an endless
    wait) has to be longer still.
    """
    assert seconds >= LEAST_SECONDS
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < seconds, f"took {took:.1f} s"
