"""Answers that take their time: with `-p support.random_delays --delays=1-3` each call of a fake is late at random.

The fakes answer at once otherwise, so that no two of the broker's tasks ever meet as they do before a slow Vault, a
slow Azure or another replica. Each test runs once for each seed, and what fails with one mostly fails with it again.
"""

import asyncio
import functools
import inspect
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from support.fake_cloud import FakeCloud
from support.fake_ledger import FakeLedger
from support.fake_maker import FakeMaker
from support.fake_store import FakeStateStore
from support.oidc import FakeKeySource

LONGEST_SECONDS = 0.02
_SEED = "delays_seed"
# The real ledger takes records in the order of the calls, and only answers late.
_DELAYED = {FakeStateStore: True, FakeCloud: True, FakeMaker: True, FakeKeySource: True, FakeLedger: False}


class Delays:
    """Pauses, of which the same seed gives the same ones."""

    def __init__(self) -> None:
        self._random = random.Random(0)  # noqa: S311 (guards nothing)

    def begin(self, seed: str) -> None:
        """Starts anew."""
        self._random = random.Random(seed)  # noqa: S311

    async def pause(self) -> None:
        """Waits: often not at all, at times for others who are ready, else for up to 20 ms, rather less than more."""
        kind = self._random.random()
        if kind < 0.4:
            return
        if kind < 0.55:
            for _ in range(self._random.randrange(1, 6)):
                await asyncio.sleep(0)
            return
        await asyncio.sleep(self._random.random() ** 2 * LONGEST_SECONDS)

    def delay(self, fake: type[Any], *, before: bool) -> None:
        """Has each asynchronous method of a class pause once it has done its work, and `before` it, too."""
        for name, method in list(vars(fake).items()):
            if inspect.iscoroutinefunction(method) and not name.startswith("_"):
                setattr(fake, name, self._late(method, before=before))

    def _late(self, method: Callable[..., Awaitable[Any]], *, before: bool) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(method)
        async def late(*arguments: Any, **named: Any) -> Any:
            if before:
                await self.pause()
            answer = await method(*arguments, **named)
            await self.pause()
            return answer

        return late


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--delays`."""
    parser.addoption("--delays", default="1", help="the seeds with which each test is run: 7, or 1-3")


def pytest_configure(config: pytest.Config) -> None:
    """Makes the fakes late."""
    delays = Delays()
    config.stash[_DELAYS] = delays
    for fake, before in _DELAYED.items():
        delays.delay(fake, before=before)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Has each test run once for each seed."""
    first, _, last = metafunc.config.getoption("--delays").partition("-")
    seeds = range(int(first), int(last or first) + 1)
    metafunc.fixturenames.append(_SEED)
    metafunc.parametrize(_SEED, seeds, ids=[f"seed{seed}" for seed in seeds])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begins the pauses of a test."""
    item.config.stash[_DELAYS].begin(item.nodeid)


@pytest.fixture
def delays_seed(request: pytest.FixtureRequest) -> Any:
    """The seed, which is in the test's id."""
    return request.param


_DELAYS = pytest.StashKey[Delays]()
