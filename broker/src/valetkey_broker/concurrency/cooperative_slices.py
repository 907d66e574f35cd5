"""Long work in short pieces, so that the event loop gets around to everybody else in between."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import TypeVar
from weakref import WeakKeyDictionary

from valetkey_broker.concurrency.background_share import BackgroundWork

T = TypeVar("T")

SLICE = 256
"""So many things are worked off before the others are let in: well under a millisecond of simple work."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def slices(things: Iterable[T], size: int = SLICE, *, in_background: bool = False) -> AsyncIterator[list[T]]:
    """Yields `things` in lists of at most `size`, with a turn of the event loop between two of them.

    What fits into one list costs no turn. Work `in_background` keeps to its share of the time, see background_share.
    """
    iterator = iter(things)
    work = BackgroundWork()
    began = time.perf_counter()
    batch = list(islice(iterator, size))
    while batch:
        yield batch
        batch = list(islice(iterator, size))
        if batch:
            await (work.let_others_in(began) if in_background else _turn())
            began = time.perf_counter()


async def _turn() -> None:
    """Waits until the event loop came around: once for each long work, so that of many only one goes on at a time."""
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        await asyncio.sleep(0)
