"""Listings of many connectors: what does not come in time hides nothing that came, or was found earlier."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
import pytest_asyncio

from support.core import PROFILE, FakeClock, credential_of, make_connector
from support.event_loop_turns import watched
from support.fake_cloud import FakeCloud
from valetkey_broker.concurrency.cooperative_slices import SLICE
from valetkey_broker.connectors import bulk_reach_in_time as module
from valetkey_broker.connectors.bulk_reach_in_time import reach_in_time
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.connectors.reach_result import Reach
from valetkey_broker.errors import BrokerError, Reason, connector_not_looked_at
from valetkey_broker.model import Connector, Credential

# More than are asked at once.
MANY = [make_connector(f"connector-{number:02}") for number in range(20)]
LONG, SHORT = 60.0, 0.05


class Listing:
    """A cache on a fake cloud with a clock that stands still, which notes whom a search began for."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cloud = FakeCloud({"acc": ["demo"]}, profile=PROFILE)
        self.searched: list[str] = []
        self.cache = ReachCache(CloudClient(self.cloud, self._credential_of, LONG), self.clock, 300)

    async def _credential_of(self, connector: Connector) -> Credential:
        self.searched.append(connector.name)
        return await credential_of(connector)

    async def list(self, seconds: float, connectors: Sequence[Connector] = MANY) -> dict[str, Reach | BrokerError]:
        """Lists so long after the last time that nothing of it is taken as it is."""
        self.clock.now += 10
        found = await reach_in_time(self.cache, connectors, seconds)
        assert [connector for connector, _ in found] == list(connectors)
        return {connector.name: answer for connector, answer in found}


@pytest_asyncio.fixture
async def listing() -> AsyncIterator[Listing]:
    """The cloud has one container, and every connector reaches it."""
    listing = Listing()
    yield listing
    listing.cloud.heal()
    await listing.cache.close()


def in_time(answer: Reach | BrokerError) -> bool:
    """Tells whether a connector was looked at; what is said of the others is the same of all."""
    if isinstance(answer, Reach) and not answer.errors:
        return True
    error = answer if isinstance(answer, BrokerError) else answer.errors[0].error
    assert error.reason is Reason.CLOUD_UNAVAILABLE
    assert "was not looked at in time" in error.message
    return False


async def test_a_cloud_that_does_not_answer(listing: Listing) -> None:
    """Whoever lists is told which connectors nobody could look at, and not kept until their own time is over."""
    listing.cloud.hold("find_accounts")
    found = await listing.list(SHORT)
    assert not any(in_time(answer) for answer in found.values())
    listing.cloud.heal()
    found = await listing.list(LONG)
    assert all(in_time(answer) for answer in found.values())


async def test_what_was_found_earlier_is_shown(listing: Listing) -> None:
    """With the error beside it; of a connector for a single container, too."""
    single = make_connector("single", "demo")
    connectors = [*MANY, single]
    before = await listing.list(LONG, connectors)
    listing.cloud.hold("find_accounts")
    after = await listing.list(SHORT, connectors)
    for name, answer in after.items():
        told = before[name]
        assert isinstance(answer, Reach)
        assert isinstance(told, Reach)
        assert [container.name for container in answer.containers] == ["demo"]
        assert answer.containers == told.containers
        assert not in_time(answer)


@pytest.mark.parametrize(("connectors", "told"), [(MANY[:1], "the cloud is slow"), (MANY[:2], "many were listed")])
async def test_why_it_was_not_looked_at(listing: Listing, connectors: Sequence[Connector], told: str) -> None:
    """Whoever lists one connector is not told that it were too many."""
    listing.cloud.hold("find_accounts")
    for answer in (await listing.list(SHORT, connectors)).values():
        assert isinstance(answer, BrokerError)
        assert told in answer.message


class Compared(str):
    """A uid that counts how often it is held against another."""

    __slots__ = ()
    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


async def test_what_is_known_of_a_connector_is_found_without_a_look_at_all_others(listing: Listing) -> None:
    """Thousands of them that were never listed keep the event loop from nobody."""
    many = [replace(each, uid=Compared(uuid.UUID(int=place))) for place, each in enumerate(MANY * 10)]
    Compared.times = 0
    for each in many:
        listing.cache.knowledge(each)
    assert Compared.times <= len(many)


async def test_those_that_were_not_looked_at_are_told_of_in_slices(
    listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, others have their turns in between."""
    told = 0

    def counted(connector: str, *, alone: bool) -> BrokerError:
        nonlocal told
        told += 1
        return connector_not_looked_at(connector, alone=alone)

    monkeypatch.setattr(module, "connector_not_looked_at", counted)
    listing.cloud.hold("find_accounts")
    many = [make_connector(f"connector-{number}") for number in range(3 * SLICE)]
    async with watched(lambda: told) as turns:
        await listing.list(SHORT, many)
    assert told == len(many)
    assert turns.most <= SLICE


async def test_each_listing_gets_to_others_than_the_one_before(listing: Listing) -> None:
    """However slow the cloud is, and however many connectors there are, each has its turn."""
    listing.cloud.hold("find_accounts")
    turns = []
    while len(set(listing.searched)) < len(MANY):
        before = len(listing.searched)
        await listing.list(SHORT)
        while len(listing.searched) == before:  # noqa: ASYNC110 (the fake has no event for it)
            await asyncio.sleep(0)
        turns.append(len(listing.searched) - before)
    assert len(turns) > 1
    assert sorted(listing.searched) == [each.name for each in MANY]
