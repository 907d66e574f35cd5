"""Work of disks in threads, none of which is left behind: what is begun there ends before anything else goes on."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Each resource that waits for a broker holds one, and writes must not stand behind them; made as they are needed.
_MOST_THREADS = 256


def use_threads() -> None:
    """Gives the running loop threads enough for all who wait."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_MOST_THREADS, "valetkey-agent"))


async def in_thread(function: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
    """Calls a function in a thread. Who is cancelled meanwhile waits for it: two must not write one file at once."""
    running = asyncio.ensure_future(asyncio.to_thread(function, *arguments, **named))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # Looked at, or asyncio would log it, traceback and all.
        raise
