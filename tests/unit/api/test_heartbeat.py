"""Heartbeats: one after each silence, nothing lost, nothing left running."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from valetkey_broker.api.heartbeat import with_heartbeats

SILENCE = 0.02


class Source:
    """A stream of what a test puts in; knows how it was left."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def items(self) -> AsyncGenerator[str, None]:
        try:
            while (item := await self.queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed.set()


async def test_a_sign_of_life_after_each_silence() -> None:
    """Each silence gives one None, and the item that comes after it is not lost."""
    source = Source()
    source.queue.put_nowait("first")
    stream = with_heartbeats(source.items(), SILENCE)
    assert await anext(stream) == "first"
    assert [await anext(stream) for _ in range(3)] == [None] * 3
    source.queue.put_nowait("second")
    assert await anext(stream) == "second"
    source.queue.put_nowait(None)
    assert [item async for item in stream] == []
    assert source.closed.is_set()


async def test_silent_where_nobody_asked() -> None:
    """A client that does not know heartbeats never gets one."""
    source = Source()
    stream = with_heartbeats(source.items(), None)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.wait({waiting}, timeout=5 * SILENCE)
    assert not waiting.done()
    source.queue.put_nowait("only")
    assert await waiting == "only"
    await stream.aclose()


async def test_the_end_of_the_reader_ends_the_source() -> None:
    """A stream holds a slot: it ends at once when its reader does, also while it waits."""
    source = Source()
    stream = with_heartbeats(source.items(), SILENCE)
    assert await anext(stream) is None
    await stream.aclose()
    assert source.closed.is_set()

    source = Source()
    stream = with_heartbeats(source.items(), 60.0)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert source.closed.is_set()


async def test_errors_come_through() -> None:
    """What ends the source reaches the reader as it was raised."""
    source = Source()
    stream = with_heartbeats(source.items(), SILENCE)
    assert await anext(stream) is None
    source.queue.put_nowait(ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        await anext(stream)
    assert source.closed.is_set()
