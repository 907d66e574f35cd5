"""Waits for the first of two events."""

import asyncio


async def first_of(wanted: asyncio.Event, stop: asyncio.Event | None) -> bool:
    """Waits for either; returns whether `wanted` is set."""
    waiting = [asyncio.create_task(event.wait()) for event in (wanted, stop) if event is not None]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    return wanted.is_set()
