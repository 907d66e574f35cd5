"""Signals amid a start: Ctrl-C ends a command at once, which has nothing yet to clean up; a hangup ends no broker."""

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


def hangups_end_nothing() -> None:
    """Has SIGHUP ignored until a handler for it stands: who sends one wants files looked at, which are not read yet.

    Lets in those that came since the process began, where whoever started it has held them back.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


@contextlib.contextmanager
def hangups_held_back() -> Iterator[None]:
    """Holds SIGHUP back from this process, until the block ends, and from those it starts, until they let it in."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
