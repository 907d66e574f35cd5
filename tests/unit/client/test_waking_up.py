"""A machine that slept: its tokens went on to their end, and the network has forgotten its connections."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace

import pytest

from support.network import network_before
from valetkey import clock_through_suspend
from valetkey.calls import streams
from valetkey.testing import FakeBroker

LIFE = timedelta(minutes=15)
PATIENCE = 60
Sleep = Callable[[timedelta], None]


@pytest.fixture
def fake() -> Iterator[FakeBroker]:
    with FakeBroker(ttl=LIFE) as running:
        yield running


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch) -> Sleep:
    """Sets forward the clock that goes on while the machine sleeps, and no other one."""
    slept = [0.0]
    clock = SimpleNamespace(
        clock_gettime=lambda which: time.clock_gettime(which) + slept[0], monotonic=lambda: time.monotonic() + slept[0]
    )
    monkeypatch.setattr(clock_through_suspend, "time", clock)
    return lambda long: slept.append(slept.pop() + long.total_seconds())


def test_a_token_that_ended_meanwhile_is_served_no_more(fake: FakeBroker, sleep: Sleep) -> None:
    """Protects who opens a laptop from a 403 by storage: not for a moment is the token of before handed out."""
    with fake.token_source("az://models") as source:
        first = source.current()
        sleep(LIFE / 2)
        assert source.at_hand() == first
        sleep(LIFE / 2)
        assert (source.peek(), source.at_hand(), source.lasts()) == (None, None, 0)
        assert source.current() != first


def test_the_connection_is_a_new_one_where_nothing_comes_over_the_old(
    fake: FakeBroker, sleep: Sleep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the first request after that from waiting for a connection that is dead, until it is given up."""
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 1)
    with network_before(fake.endpoint) as network, fake.token_source("az://m", endpoint=network.endpoint) as source:
        first = source.current()
        caller = source._feed and source._feed._caller
        end = time.monotonic() + PATIENCE
        while caller and not caller.heartbeats and time.monotonic() < end:
            time.sleep(0.02)
        network.forget()
        sleep(LIFE)
        assert source.current() != first
