"""Token buckets: so many at once, so many a second, and nothing else, in bounded memory."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.core import FakeClock
from valetkey_broker.limits import TokenBuckets

RATES = st.floats(0.01, 1000)
BURSTS = st.integers(1, 50)
WAITS = st.lists(st.floats(0, 100), max_size=80)


@given(rate=RATES, burst=BURSTS, waits=WAITS)
def test_never_more_than_burst_and_rate_allow(rate: float, burst: int, waits: list[float]) -> None:
    """Over any span what was given is at most the burst and what came in meanwhile."""
    clock = FakeClock(0.0)
    buckets = TokenBuckets(per_second=rate, burst=burst, clock=clock)
    given_at: list[float] = []
    for wait in waits:
        clock.now += wait
        if not buckets.take("a"):
            given_at.append(clock.now)
    for first, begin in enumerate(given_at):
        for last, end in enumerate(given_at[first:], first):
            assert last - first + 1 <= burst + (end - begin) * rate + 1e-3


@given(rate=RATES, burst=BURSTS, waits=WAITS)
def test_who_waits_as_told_gets_one(rate: float, burst: int, waits: list[float]) -> None:
    """The time that is told is enough, at today's clock readings too, and nobody is told to wait without need."""
    clock = FakeClock()
    buckets = TokenBuckets(per_second=rate, burst=burst, clock=clock)
    for wait in waits:
        clock.now += wait
        told = buckets.take("a")
        if told:
            assert 0 < told <= 1 / rate * (1 + 1e-9)
            clock.now += told + 1e-6
            assert buckets.take("a") == 0.0


def test_a_burst_then_the_rate() -> None:
    """The numbers of the settings mean what they say."""
    clock = FakeClock()
    buckets = TokenBuckets(per_second=2, burst=3, clock=clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, pytest.approx(0.5)]
    clock.now += 0.5
    assert [buckets.take("a") for _ in range(2)] == [0, pytest.approx(0.5)]
    clock.now += 1000
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, pytest.approx(0.5)]


def test_refusals_do_not_put_off_the_next_token() -> None:
    """Who asks on and on while refused gets the next token when it was due."""
    clock = FakeClock()
    buckets = TokenBuckets(per_second=1, burst=1, clock=clock)
    assert buckets.take("a") == 0
    for _ in range(9):
        clock.now += 0.1
        assert buckets.take("a") > 0
    clock.now += 0.11
    assert buckets.take("a") == 0


def test_keys_are_separate() -> None:
    """What one key uses up is nothing to another."""
    buckets = TokenBuckets(per_second=1, burst=1, clock=FakeClock())
    assert buckets.take("a") == 0
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0


def test_a_clock_that_was_set_back() -> None:
    """Setting the clock back gives nothing away and locks nobody out."""
    clock = FakeClock()
    buckets = TokenBuckets(per_second=1, burst=1, clock=clock)
    assert buckets.take("a") == 0
    clock.now -= 3600
    assert buckets.take("a") == pytest.approx(1)
    clock.now += 1.01
    assert buckets.take("a") == 0


def test_memory_is_bounded() -> None:
    """However many keys come along, 20,000 are remembered, and the most recent ones are."""
    buckets = TokenBuckets(per_second=0.001, burst=1, clock=FakeClock())
    for number in range(25_000):
        assert buckets.take(f"key-{number}") == 0
    assert len(buckets._buckets) == 20_000
    assert buckets.take("key-24999") > 0
    assert buckets.take("key-0") == 0


def test_a_key_in_use_is_not_forgotten() -> None:
    """A caller that is refused stays refused while strangers come and go around it."""
    buckets = TokenBuckets(per_second=0.001, burst=1, clock=FakeClock(), most_keys=100)
    buckets.take("busy")
    for number in range(1000):
        buckets.take(f"{random.Random(number).random()}")  # noqa: S311 (names, no secret)
        if not number % 50:
            assert buckets.take("busy") > 0


@given(rate=RATES, burst=BURSTS, costs=st.lists(st.tuples(st.floats(0, 100), st.integers(1, 120)), max_size=60))
def test_many_at_once_cost_as_many(rate: float, burst: int, costs: list[tuple[float, int]]) -> None:
    """Whoever asks for many gets no more over time than who asks one by one; only a full bucket may be overdrawn."""
    clock = FakeClock(0.0)
    buckets = TokenBuckets(per_second=rate, burst=burst, clock=clock)
    given_, most = 0, 0
    for wait, cost in costs:
        clock.now += wait
        if not buckets.take("a", cost):
            given_, most = given_ + cost, max(most, cost)
            assert given_ <= burst + clock.now * rate + max(0, most - burst) + 1e-3


def test_a_full_bucket_lets_through_what_it_cannot_hold() -> None:
    """A call for more than the burst would never come through otherwise; it is paid for before the next one."""
    clock = FakeClock(0.0)
    buckets = TokenBuckets(per_second=1.0, burst=10, clock=clock)
    assert not buckets.take("a", 100)
    assert buckets.take("a") == pytest.approx(91.0)
    clock.now += 91.0
    assert not buckets.take("a")
    assert buckets.take("a", 100) == pytest.approx(10.0)
