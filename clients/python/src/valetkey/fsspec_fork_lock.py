"""What keeps the threads of a forked child from making two of what a file system makes anew there."""

import os
import threading
from contextlib import AbstractContextManager
from typing import Any

_lock = threading.Lock()


def guard() -> AbstractContextManager[Any]:
    """Returns the lock that is held meanwhile."""
    return _lock


def _after_fork() -> None:
    """Makes another one in a child: of the parent, a thread that did not come along may have held it."""
    global _lock  # noqa: PLW0603 (the old one may be held for ever)
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
