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
# One work waits for so long in all at most: what it is for has a limit of time, and many may be at it.
_MOST_WAITED_SECONDS = 2.5


@dataclass(slots=True)
class _Share:
    """What is known of one event loop: for how many seconds such work went on there since it last rested."""

    worked: float = 0.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


_shares: WeakKeyDictionary[asyncio.AbstractEventLoop, _Share] = WeakKeyDictionary()


class BackgroundWork:
    """One work of many pieces."""

    def __init__(self) -> None:
        self._waited = 0.0

    async def let_others_in(self, began: float) -> None:
        """Waits, after a piece of it that `began` then by time.perf_counter, until the next one may be begun."""
        ended = time.perf_counter()
        share = _shares.setdefault(asyncio.get_running_loop(), _Share())
        share.worked += ended - began
        async with share.turn:
            if share.worked < _WORK_SECONDS or self._waited > _MOST_WAITED_SECONDS:
                await asyncio.sleep(0)
            else:
                rest, share.worked = _REST * share.worked, 0.0
                await asyncio.sleep(min(rest, _LONGEST_REST_SECONDS))
        self._waited += time.perf_counter() - ended
