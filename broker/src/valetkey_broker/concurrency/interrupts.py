"""Ends a command at once on Ctrl-C while it has nothing yet to clean up."""

import contextlib
import os
import signal
from collections.abc import Iterator

_INTERRUPTED = 130


@contextlib.contextmanager
def interrupts_end_at_once() -> Iterator[None]:
    """Lets Ctrl-C end the process with 130 while the block imports modules, which takes up to a second.

    A KeyboardInterrupt amid imports would show as a traceback. Where somebody else handles Ctrl-C, nothing changes.
    """
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(_INTERRUPTED))
    try:
        yield
    finally:
        if heeded:
            signal.signal(signal.SIGINT, signal.default_int_handler)
