"""UnreachedContainers: a typing error in a grant's containers is told of, and what nobody knows is not."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.core import PROFILE, FakeClock, credential_of, make_connector
from support.fake_cloud import FakeCloud
from valetkey_broker.authz.grant_warnings import of_unreached
from valetkey_broker.connectors import unreached_containers
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.connectors.unreached_containers import UnreachedContainers
from valetkey_broker.errors import Reason
from valetkey_broker.model import Connector, ContainerPattern

_ALL = make_connector("all")
_MODELS = make_connector("one", "models", account="acc")


class Looking:
    """Looks in a fake cloud of two accounts, with a clock that stands still. Listings are fresh for 300 s."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cloud = FakeCloud({"acc": ["models", "demo-models"], "other": ["team-a"]}, profile=PROFILE)
        questions = CloudClient(self.cloud, credential_of, 30)
        self.tokens, self.cache = (ReachCache(questions, self.clock, 300) for _ in range(2))
        self.unreached = UnreachedContainers(self.tokens.known, self.cache, self.clock, 300)

    async def told(self, *patterns: str, connectors: tuple[Connector, ...] = (_ALL,)) -> list[tuple[str, str]]:
        asked = [ContainerPattern(each, "containers") for each in patterns]
        return [(pattern.text, near) for pattern, near in await self.unreached.of(connectors, asked)]

    @property
    def listings(self) -> int:
        return self.cloud.calls["find_accounts"]


@pytest_asyncio.fixture
async def looking(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Looking]:
    """Has as much patience as a busy machine may need."""
    monkeypatch.setattr(unreached_containers, "_PATIENCE_SECONDS", 3600)
    looking = Looking()
    yield looking
    await looking.tokens.close()
    await looking.cache.close()


async def test_what_no_connector_reaches_is_told_with_what_was_meant(looking: Looking) -> None:
    """A typing error is seen when the grant is made, not when a pipeline fails; what fits anything is not told."""
    assert await looking.told("demo-modles", "demo-models", "demo-*", "team-*", "ops-*", "payroll", "$web") == [
        ("demo-modles", "demo-models"),
        ("ops-*", ""),
        ("payroll", ""),
    ]
    # A connector to one container reaches that one, and nobody has to be asked.
    asked = looking.listings
    assert await looking.told("models", "model", connectors=(_MODELS,)) == [("model", "models")]
    assert looking.listings == asked


async def test_what_is_in_memory_is_not_asked_for_and_what_is_not_is_asked_anew(looking: Looking) -> None:
    """Thousands of right grants are no load on Azure, and a container made a moment ago is there."""
    await looking.tokens.find(_ALL, "models")
    assert not await looking.told("models")
    assert looking.listings == 1
    for _ in range(3):
        assert not await looking.told("models", "team-*")
    assert looking.listings == 2
    looking.cloud.containers["acc"].add("fresh")
    looking.clock.now += 6
    assert not await looking.told("fresh")
    assert looking.listings == 3
    # What issues tokens heard nothing of it.
    assert not looking.tokens.known(_ALL, "fresh")


async def test_where_it_is_not_known_nothing_is_told(looking: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that fails may have the container; a cloud that does not answer holds up one grant, not a thousand."""
    looking.cloud.fail("list_containers", Reason.CLOUD_UNAVAILABLE)
    assert not await looking.told("demo-modles")
    looking.cloud.heal()
    looking.clock.now += 6
    with monkeypatch.context() as broken:
        broken.setattr(unreached_containers.UnreachedContainers, "_keys", None)  # An error that nobody thought of.
        assert not await looking.told("demo-modles")
    looking.clock.now += 6
    monkeypatch.setattr(unreached_containers, "_PATIENCE_SECONDS", 0.01)
    gate = looking.cloud.hold("list_containers")
    assert not await looking.told("demo-modles")
    monkeypatch.setattr(unreached_containers, "_PATIENCE_SECONDS", 3600)
    assert not await looking.told("demo-modles")  # which would wait for ever
    gate.set()
    looking.clock.now += 31
    assert await looking.told("demo-modles") == [("demo-modles", "demo-models")]


async def test_how_it_is_told(looking: Looking) -> None:
    """Each of a few is a sentence that says what to do; of very many the rest is a number."""
    patterns = [
        ContainerPattern(each, "containers")
        for each in ("demo-modles", "ops-*", "payroll", *(f"{letter}-1" for letter in "abcdefg"))
    ]
    found = await looking.unreached.of([_ALL], patterns)
    assert of_unreached(found) == [
        "its connectors reach no container demo-modles now, but demo-models: change the grant if that was meant",
        "no container that its connectors reach now matches ops-*; it means those that are made later",
        "its connectors reach no container payroll now; compare the name, or make it",
        "its connectors reach no container a-1 now; compare the name, or make it",
        "its connectors reach no container b-1 now; compare the name, or make it",
        "5 more of its containers are none that its connectors reach now",
    ]
