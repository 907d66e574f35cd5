"""Threads, where the system may have no more of them."""

import threading

from valetkey.errors import UnavailableError


def start(thread: threading.Thread) -> None:
    """Starts a thread.

    Raises UnavailableError where none can be had: the user's limit on processes (`ulimit -u`), or the pod's (`pids`),
    counts threads, too. That passes, and the next try may have one.
    """
    try:
        thread.start()
    except RuntimeError:
        raise UnavailableError(
            "no further thread can be started here, which renewing a token takes; expected a higher limit on processes "
            "(ulimit -u, or the pod's), or fewer threads"
        ) from None
