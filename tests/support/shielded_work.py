"""An asynchronous context on a thread and an event loop of its own, for tests of either kind."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_SECONDS = 180.0


@dataclass(frozen=True)
class Background(Generic[T]):
    """What the context gave, and the loop it lives on."""

    value: T
    loop: asyncio.AbstractEventLoop

    def call(self, work: Coroutine[Any, Any, R]) -> R:
        """Runs `work` on that loop and returns its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_SECONDS)


@contextmanager
def in_background(opened: AbstractAsyncContextManager[T], name: str) -> Iterator[Background[T]]:
    """Enters `opened` on a new thread, and leaves it there afterwards. Child processes live as long as that thread."""
    started: concurrent.futures.Future[tuple[Background[T], asyncio.Event]] = concurrent.futures.Future()

    async def live() -> None:
        stop = asyncio.Event()
        async with opened as value:
            started.set_result((Background(value, asyncio.get_running_loop()), stop))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=run, name=name)
    thread.start()
    try:
        running, stop = started.result(_SECONDS)
        try:
            yield running
        finally:
            running.loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join(_SECONDS)
