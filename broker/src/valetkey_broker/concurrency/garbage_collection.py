"""Keeps garbage collections short for a process that serves for long, and away while it loads."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def loading_modules() -> Iterator[None]:
    """Collects no garbage while the block imports modules, which leave next to none.

    Python would go through all that was loaded so far, again and again: a seventh of the broker's start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def freeze_startup_objects() -> None:
    """Leaves what was made until now, mostly modules, out of later garbage collections.

    Going through all of it halts every call for some 75 ms, again and again under load; see docs/performance.md.
    """
    gc.freeze()
