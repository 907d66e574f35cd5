"""SharedPoller: everybody is asked, in time, and nobody's trouble is another's."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from valetkey_broker.concurrency import shared_poller
from valetkey_broker.concurrency.shared_poller import SharedPoller


async def test_everybody_is_asked_again_until_it_is_over() -> None:
    """Protects streams: each goes on when its own time has come, whatever the others wait for."""
    rounds = SharedPoller(0.001)
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
    rounds = SharedPoller(3600)
    answers = iter((0.01, 0.01, None))
    async with asyncio.timeout(30):
        await rounds.until(lambda: next(answers))


async def test_a_round_at_once() -> None:
    """Protects a broker that stops: its streams end now, and not after the rest of a round."""
    rounds = SharedPoller(3600)
    over = False
    waiting = [asyncio.ensure_future(rounds.until(lambda: None if over else 3600.0)) for _ in range(3)]
    await asyncio.sleep(0.01)
    over = True
    rounds.at_once()
    async with asyncio.timeout(30):
        await asyncio.gather(*waiting)


async def test_an_error_is_its_own() -> None:
    """Protects streams from a defect that shows in one of them."""
    rounds = SharedPoller(0.001)
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
    rounds = SharedPoller(0.001)
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


class News:
    """What there is to know, and how often it was asked for."""

    def __init__(self) -> None:
        self.state, self.asked = 0, 0

    def __call__(self) -> int:
        self.asked += 1
        return self.state

    async def asked_again(self, times: int) -> None:
        """Waits until it was asked for so many times more."""
        until = self.asked + times
        async with asyncio.timeout(60):
            while self.asked < until:  # noqa: ASYNC110 (the news may be asked for in any task)
                await asyncio.sleep(0.002)


async def test_nobody_is_asked_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the processor: ten thousand idle streams are asked when there is news, and not every second."""
    monkeypatch.setattr(shared_poller, "_QUIET_ROUNDS", 1e9)
    news = News()
    rounds = SharedPoller(0.001, news)
    asked = 0

    def look() -> float | None:
        nonlocal asked
        asked += 1
        return None if news.state == 2 else 3600.0

    waiting = [asyncio.ensure_future(rounds.until(look)) for _ in range(100)]
    await news.asked_again(2)
    before = asked
    await news.asked_again(10)
    assert asked == before
    news.state = 1
    await news.asked_again(3)
    assert asked == before + 100
    news.state = 2
    async with asyncio.timeout(60):
        await asyncio.gather(*waiting)


async def test_all_are_asked_now_and_then_without_news() -> None:
    """Protects streams from whatever the news forget to tell."""
    answers = iter((3600.0, 3600.0, 3600.0, 3600.0, None))
    async with asyncio.timeout(60):
        await SharedPoller(0.001, lambda: "the same").until(lambda: next(answers))


async def test_news_that_cannot_be_had() -> None:
    """Protects streams from a defect in what they have in common: they are asked all the same."""

    def broken() -> object:
        raise ValueError("broken")

    answers = iter((3600.0, 3600.0, 3600.0, None))
    async with asyncio.timeout(60):
        await SharedPoller(0.001, broken).until(lambda: next(answers))


async def test_an_earlier_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects streams whose grant is cut short: the time that they named first is not waited for."""
    monkeypatch.setattr(shared_poller, "_QUIET_ROUNDS", 1e9)
    answers = iter((1e6, 0.01, None))
    states = iter((1, 2))
    rounds = SharedPoller(0.001, lambda: next(states, 2))
    async with asyncio.timeout(60):
        await rounds.until(lambda: next(answers))


@pytest.mark.parametrize("why", ["news", "time"])
async def test_what_one_turn_of_the_loop_does(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects everybody else: of a thousand that are asked and go on at once, a turn of the event loop takes a few."""
    monkeypatch.setattr(shared_poller, "_QUIET_ROUNDS", 1e9)
    turn = 0
    asked: Counter[int] = Counter()
    went_on: Counter[int] = Counter()
    rounds = SharedPoller(3600, lambda: "the same")

    def look(answer: Callable[[], float | None]) -> float | None:
        asked[turn] += 1
        return answer()

    async def wait() -> None:
        answers = iter((0.2 if why == "time" else 3600.0, None))
        await rounds.until(partial(look, partial(next, answers)))
        went_on[turn] += 1

    waiting = [asyncio.ensure_future(wait()) for _ in range(1000)]
    await asyncio.sleep(0)
    asked.clear()
    if why == "news":
        rounds.at_once()
    async with asyncio.timeout(60):
        while not all(each.done() for each in waiting):
            turn += 1
            await asyncio.sleep(0)
    assert asked.total() == went_on.total() == 1000
    assert max(asked.values()) <= 2 * shared_poller._AT_A_TIME
    assert max(went_on.values()) <= 2 * shared_poller._AT_A_TIME
