"""BackgroundWork: work in the background, however much there is of it, leaves most of the time to others."""

import asyncio

import pytest

from valetkey_broker.concurrency import background_share
from valetkey_broker.concurrency.background_share import BackgroundWork


class _Time:
    """A clock that goes on where somebody works or sleeps. `slept` are the rests that were no mere turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self._turn = asyncio.sleep
        monkeypatch.setattr(asyncio, "sleep", self._sleep)
        monkeypatch.setattr(background_share.time, "perf_counter", lambda: self.now)

    async def _sleep(self, seconds: float) -> None:
        if seconds:
            self.slept.append(seconds)
            self.now += seconds
        await self._turn(0)

    async def work(self, pieces: int, seconds: float) -> None:
        work = BackgroundWork()
        for _ in range(pieces):
            began = self.now
            self.now += seconds
            await work.let_others_in(began)


async def test_all_of_it_together_rests_twice_as_long_as_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three at a time have one share, no three: of the time, two thirds are left to others, and no rest is long."""
    time = _Time(monkeypatch)
    await asyncio.gather(*(time.work(20, 0.0005) for _ in range(3)))
    worked = 3 * 20 * 0.0005
    assert 2 * (worked - 0.0025) <= sum(time.slept) <= 2 * worked + 1e-9
    assert max(time.slept) <= 0.008


async def test_little_work_does_not_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short listing costs its caller a turn of the event loop for each piece, and no time."""
    time = _Time(monkeypatch)
    await time.work(3, 0.0005)
    assert not time.slept


async def test_a_machine_that_stood_still_is_not_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a piece seemed to take ten seconds, nobody rests for twenty."""
    time = _Time(monkeypatch)
    await time.work(1, 10.0)
    assert time.slept == [0.05]


async def test_what_has_waited_for_long_rests_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many large listings at once must not all reach their limit of time because each waits for all the others."""
    time = _Time(monkeypatch)
    await asyncio.gather(*(time.work(1_000, 0.0005) for _ in range(40)))
    assert sum(time.slept) < 4.0, "of 20 s of work, for which twice as long would be rested"
