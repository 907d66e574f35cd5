"""slices: long work that leaves the event loop to others in between, however much of it there is."""

import asyncio

import pytest

from support.background_rests import rests
from valetkey_broker.concurrency.cooperative_slices import slices


async def test_many_long_works_hold_nobody_up_longer_than_one() -> None:
    """Between two turns of somebody else's, one of them gets on by one slice, and all come to their end."""
    done = 0

    async def work() -> None:
        nonlocal done
        async for _ in slices(range(20), 2):
            done += 1

    works = [asyncio.create_task(work()) for _ in range(10)]
    await asyncio.sleep(0)
    assert done == 10  # What fits into one slice waits for nobody.
    most = 0
    while not all(each.done() for each in works):
        before = done
        await asyncio.sleep(0)
        most = max(most, done - before)
    assert (done, most) == (100, 1)


async def test_only_work_in_the_background_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever a caller waits for goes on after a turn; what nobody waits for keeps to its share of the time."""
    rested = rests(monkeypatch)
    assert [len(some) async for some in slices(range(20), 2)] == [2] * 10
    assert not rested
    assert [len(some) async for some in slices(range(20), 2, in_background=True)] == [2] * 10
    assert sum(rested) >= 0.01
