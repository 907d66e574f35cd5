"""Work in the background in its share of the event loop, however much of it there is and however many are at it.

Work that lets others in after each piece still takes most of the time where their turns are shorter than its pieces.
"""

import asyncio
import time
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

# So much of it goes on, piece by piece, before it rests for so many times as long: a third of the time is its own.
_WORK_SECONDS = 0.002
_REST = 2
# A piece may seem to have taken long where the machine stood still.
_LONGEST_REST_SECONDS = 0.05


@dataclass(slots=True)
class _Share:
    """What is known of one event loop: for how many seconds such work went on there since it last rested."""

    worked: float = 0.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


_shares: WeakKeyDictionary[asyncio.AbstractEventLoop, _Share] = WeakKeyDictionary()


async def let_others_in(began: float) -> None:
    """Waits, after a piece of work that `began` then by time.perf_counter, until the next piece may be begun."""
    share = _shares.setdefault(asyncio.get_running_loop(), _Share())
    share.worked += time.perf_counter() - began
    async with share.turn:
        if share.worked < _WORK_SECONDS:
            await asyncio.sleep(0)
            return
        rest, share.worked = _REST * share.worked, 0.0
        await asyncio.sleep(min(rest, _LONGEST_REST_SECONDS))
