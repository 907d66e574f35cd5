"""SharedWaiting: everybody is asked, in time, and nobody's trouble is another's."""

import asyncio
from functools import partial

import pytest

from valetkey_broker.concurrency.shared_waiting import SharedWaiting


async def test_everybody_is_asked_again_until_it_is_over() -> None:
    """Protects streams: each goes on when its own time has come, whatever the others wait for."""
    rounds = SharedWaiting(0.001)
    wanted = {"a": 1, "b": 5, "c": 20}
    asked = dict.fromkeys(wanted, 0)

    def look(name: str) -> float | None:
        asked[name] += 1
        return 60.0 if asked[name] < wanted[name] else None

    async with asyncio.timeout(30):
        await asyncio.gather(*(rounds.until(partial(look, name)) for name in wanted))
    assert asked == wanted


async def test_a_time_before_the_next_round_is_kept() -> None:
    """Protects tokens that live shorter than a round takes."""
    rounds = SharedWaiting(3600)
    answers = iter((0.01, 0.01, None))
    async with asyncio.timeout(30):
        await rounds.until(lambda: next(answers))


async def test_a_round_at_once() -> None:
    """Protects a broker that stops: its streams end now, and not after the rest of a round."""
    rounds = SharedWaiting(3600)
    over = False
    waiting = [asyncio.ensure_future(rounds.until(lambda: None if over else 3600.0)) for _ in range(3)]
    await asyncio.sleep(0.01)
    over = True
    rounds.at_once()
    async with asyncio.timeout(30):
        await asyncio.gather(*waiting)


async def test_an_error_is_its_own() -> None:
    """Protects streams from a defect that shows in one of them."""
    rounds = SharedWaiting(0.001)
    asked = 0

    def broken() -> float:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise ValueError("broken")
        return 1.0

    fine = iter((1.0, 1.0, 1.0, None))
    async with asyncio.timeout(30):
        failing = asyncio.ensure_future(rounds.until(broken))
        await rounds.until(lambda: next(fine))
        with pytest.raises(ValueError, match="broken"):
            await failing


async def test_nothing_runs_on_when_nobody_waits() -> None:
    """Protects the end of a process, and whoever comes after everybody has left."""
    before = asyncio.all_tasks()
    rounds = SharedWaiting(0.001)
    for _ in range(3):
        waiting = asyncio.ensure_future(rounds.until(lambda: 1.0))
        await asyncio.sleep(0.005)
        waiting.cancel()
        await asyncio.wait({waiting})
        await asyncio.sleep(0)
        assert asyncio.all_tasks() <= before
        answers = iter((1.0, 1.0, None))
        async with asyncio.timeout(30):
            await rounds.until(lambda answers=answers: next(answers))
