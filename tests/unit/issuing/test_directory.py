"""ContainerDirectory: listings for many callers at once, old ones better than none, none asked for too often."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.core import NOW, PROFILE, FakeClock, credential_of, make_connector
from support.fake_cloud import FakeCloud
from valetkey_broker.errors import BrokerError, Reason, resource_not_found
from valetkey_broker.issuing.directory import ContainerDirectory
from valetkey_broker.model import Container

_ONE = make_connector("one")


class Directory:
    """A directory on a fake cloud, with a clock that stands still. Listings are fresh for 300 s."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cloud = FakeCloud({"acc": ["demo", "models"], "other": ["demo"]}, profile=PROFILE)
        self.directory = ContainerDirectory(
            cloud=self.cloud, credential=credential_of, clock=self.clock, fresh_seconds=300, timeout_seconds=0.3
        )

    @property
    def listings(self) -> int:
        return self.cloud.calls["find_containers"]

    async def accounts(self, name: str = "demo") -> list[str]:
        return [container.account for container in await self.directory.find(_ONE, name)]

    async def settle(self) -> None:
        """Lets background work go on as far as it can."""
        for _ in range(10):
            await asyncio.sleep(0)


@pytest_asyncio.fixture
async def directory() -> AsyncIterator[Directory]:
    """Knows nothing yet; the cloud has demo twice and models once."""
    directory = Directory()
    yield directory
    await directory.directory.close()


async def test_all_containers_of_a_name_are_found(directory: Directory) -> None:
    """A name that two accounts have is found in both, so that nobody guesses."""
    assert directory.directory.known(_ONE, "demo") == ()
    assert await directory.accounts() == ["acc", "other"]
    assert await directory.accounts("models") == ["acc"]
    assert directory.directory.known(_ONE, "models") == (
        Container("acc", "models", "https://acc.blob.dev.invalid/models"),
    )
    assert directory.listings == 1


async def test_a_herd_of_cold_callers_makes_one_listing(directory: Directory) -> None:
    """Fifty pods that start at once are one listing."""
    gate = directory.cloud.hold("find_containers")
    waiting = [asyncio.create_task(directory.accounts()) for _ in range(50)]
    await directory.settle()
    gate.set()
    assert await asyncio.gather(*waiting) == [["acc", "other"]] * 50
    assert directory.listings == 1


async def test_an_old_listing_is_renewed_behind_the_callers_backs(directory: Directory) -> None:
    """Nobody waits for the renewal, and what it finds counts from then on."""
    await directory.accounts()
    directory.cloud.containers["third"] = {"demo"}
    directory.clock.now = NOW + 300
    assert await directory.accounts() == ["acc", "other"]
    await directory.settle()
    assert directory.listings == 1
    directory.clock.now = NOW + 301
    gate = directory.cloud.hold("find_containers")
    for _ in range(3):
        assert await directory.accounts() == ["acc", "other"]
        await directory.settle()
    gate.set()
    await directory.settle()
    assert await directory.accounts() == ["acc", "other", "third"]
    assert directory.listings == 2


async def test_an_unknown_name_is_looked_up_again_every_few_seconds_at_most(directory: Directory) -> None:
    """A new container is found soon, and a typing error in a loop is no load on Azure."""
    for _ in range(10):
        assert await directory.accounts("fresh") == []
    assert directory.listings == 1
    directory.cloud.containers["acc"].add("fresh")
    directory.clock.now = NOW + 4.9
    assert await directory.accounts("fresh") == []
    directory.clock.now = NOW + 5
    assert await directory.accounts("fresh") == ["acc"]
    assert directory.listings == 2


async def test_failures_are_not_kept(directory: Directory) -> None:
    """The first request after Azure's recovery works."""
    directory.cloud.fail("find_containers", Reason.CLOUD_UNAVAILABLE, times=1)
    with pytest.raises(BrokerError) as caught:
        await directory.accounts()
    assert caught.value.reason is Reason.CLOUD_UNAVAILABLE
    assert await directory.accounts() == ["acc", "other"]


async def test_a_throttle_is_kept_for_as_long_as_azure_said(directory: Directory) -> None:
    """Until then nobody asks again, and each caller is told the seconds that are left."""
    error = BrokerError(Reason.CLOUD_THROTTLED, "later", retry_after=20)
    directory.cloud.fail("find_containers", error, times=1)
    for passed, left in ((0, 20), (19, 1)):
        directory.clock.now = NOW + passed
        with pytest.raises(BrokerError) as caught:
            await directory.accounts()
        assert (caught.value.reason, caught.value.retry_after) == (Reason.CLOUD_THROTTLED, left)
    assert directory.listings == 1
    directory.clock.now = NOW + 20
    assert await directory.accounts() == ["acc", "other"]


async def test_a_throttled_renewal_waits_as_long_as_azure_said(directory: Directory) -> None:
    """Old knowledge serves meanwhile, and Azure is left in peace."""
    await directory.accounts()
    directory.clock.now = NOW + 1000
    directory.cloud.fail("find_containers", BrokerError(Reason.CLOUD_THROTTLED, "later", retry_after=50), times=1)
    for passed, listings in ((0.0, 2), (49.0, 2), (1.0, 3)):
        directory.clock.now += passed
        assert await directory.accounts() == ["acc", "other"]
        await directory.settle()
        assert directory.listings == listings


async def test_with_azure_away_old_knowledge_serves(directory: Directory) -> None:
    """A failed renewal is tried again soon, not at every call."""
    await directory.accounts()
    directory.clock.now = NOW + 1000
    directory.cloud.fail("find_containers", Reason.CLOUD_UNAVAILABLE)
    for _ in range(5):
        assert await directory.accounts() == ["acc", "other"]
        await directory.settle()
    assert directory.listings == 2
    directory.clock.now += 5.1
    assert await directory.accounts() == ["acc", "other"]
    await directory.settle()
    assert directory.listings == 3


async def test_a_caller_who_hangs_up_does_not_take_the_others_along(directory: Directory) -> None:
    """One cancelled call leaves the listing going for everybody else."""
    gate = directory.cloud.hold("find_containers")
    leaving, staying = [asyncio.create_task(directory.accounts()) for _ in range(2)]
    await directory.settle()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.set()
    assert await staying == ["acc", "other"]
    assert directory.listings == 1


async def test_a_cloud_that_does_not_answer_is_given_up(directory: Directory) -> None:
    """A hanging Azure becomes an error that says so."""
    directory.cloud.hold("find_containers")
    with pytest.raises(BrokerError, match="did not answer connector one") as caught:
        await directory.accounts()
    assert caught.value.reason is Reason.CLOUD_UNAVAILABLE


async def test_forget_drops_a_listing(directory: Directory) -> None:
    """A namesake of a deleted connector starts from nothing, and strangers can be forgotten too."""
    await directory.accounts()
    directory.directory.forget(_ONE.uid)
    directory.directory.forget("unknown")
    assert directory.directory.known(_ONE, "demo") == ()


async def test_callers_who_wait_while_the_connector_goes_are_told(directory: Directory) -> None:
    """They get an error, not a cancellation that is not theirs."""
    directory.cloud.hold("find_containers")
    waiting = asyncio.create_task(directory.accounts())
    await directory.settle()
    directory.directory.forget(_ONE.uid)
    with pytest.raises(BrokerError, match="deleted or made anew just now") as caught:
        await waiting
    assert caught.value.reason is Reason.CONFLICT


async def test_close_ends_what_is_under_way(directory: Directory) -> None:
    """Nothing is left running after the broker's end."""
    directory.cloud.hold("find_containers")
    waiting = asyncio.create_task(directory.accounts())
    await directory.settle()
    await directory.directory.close()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("containers")]


def test_nowhere_says_where_to_look() -> None:
    """The error names the resource and the command that lists what there is."""
    error = resource_not_found("az://demo")
    assert error.reason is Reason.RESOURCE_NOT_FOUND
    assert "list-resources" in error.message
