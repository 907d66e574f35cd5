"""Keeps garbage collections short for a process that serves for long, and away while it loads.

Again and again Python goes through everything that has lived for a while, and halts every call meanwhile: for 75 ms
where that is modules, for a second and more where it is ten thousand streams of tokens; see docs/performance.md.
"""

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_OLDEST = 2
# Python's own number is ten each: by then it is 7,000 and 70,000 objects that streams may have brought.
_YOUNGER_BETWEEN = 4
# To look at fewer objects takes little, and what is alive of them may soon be garbage.
_MANY = 10_000
# What is left out and turns into garbage that only a collection finds, stays until one looks at everything.
_WHOLE_SECONDS = 3600.0
_MANY_LEFT_OUT = 2_000_000


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


def keep_collections_short() -> None:
    """Leaves what was made until now out of garbage collections, and later on what turns out to live for long."""
    gc.freeze()
    gc.set_threshold(gc.get_threshold()[0], _YOUNGER_BETWEEN, _YOUNGER_BETWEEN)
    if not any(isinstance(getattr(each, "__self__", None), LongLived) for each in gc.callbacks):
        gc.callbacks.append(LongLived().watch)


class LongLived:
    """What a full collection finds alive is left out of later ones, until now and then one looks at everything."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`monotonic` tells seconds."""
        self._now = monotonic
        self._whole = False
        self._whole_at = monotonic()
        self._found_by_whole = self._left_out_since = 0

    def watch(self, phase: str, info: Mapping[str, Any]) -> None:
        """Hears of each collection, before and after: one of `gc.callbacks`."""
        if info["generation"] != _OLDEST:
            return
        if phase == "start":
            self._whole = self._whole_is_due()
            if self._whole:
                gc.unfreeze()
        else:
            self._leave_out()

    def _whole_is_due(self) -> bool:
        if self._left_out_since >= max(_MANY_LEFT_OUT, self._found_by_whole):
            return True
        left_out = self._left_out_since + self._found_by_whole > 0
        return left_out and self._now() - self._whole_at >= _WHOLE_SECONDS

    def _leave_out(self) -> None:
        alive = len(gc.get_objects(generation=_OLDEST))
        if self._whole:
            self._whole_at, self._found_by_whole, self._left_out_since = self._now(), alive, 0
        elif alive >= _MANY:
            self._left_out_since += alive
        if self._whole or alive >= _MANY:
            gc.freeze()
