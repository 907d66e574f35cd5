"""ReachCache: listings for many callers at once, old ones better than none, one sick account no harm to the others."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
import pytest_asyncio

from support.core import NOW, PROFILE, FakeClock, credential_of, make_connector
from support.fake_cloud import FakeCloud
from support.waiting import eventually
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Connector, Container, Credential

_ONE = make_connector("one")


class Reaching:
    """A cache on a fake cloud, with a clock that stands still. Listings are fresh for 300 s."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cloud = FakeCloud({"acc": ["demo", "models"], "other": ["demo"]}, profile=PROFILE)
        self.cache = ReachCache(CloudClient(self.cloud, credential_of, 0.3), self.clock, 300)

    @property
    def listings(self) -> int:
        return self.cloud.calls["find_accounts"]

    async def accounts(self, name: str = "demo") -> list[str]:
        return [container.account for container in (await self.cache.find(_ONE, name)).containers]

    async def settle(self) -> None:
        """Lets background work go on as far as it can: to its end, or to where the cloud holds it."""
        for _ in range(10):
            await asyncio.sleep(0)
        await eventually(lambda: self.cloud.holds_somebody or not self.cache._flights.active())


@pytest_asyncio.fixture
async def reaching() -> AsyncIterator[Reaching]:
    """Knows nothing yet; the cloud has demo twice and models once."""
    reaching = Reaching()
    yield reaching
    await reaching.cache.close()


async def test_all_containers_of_a_name_are_found(reaching: Reaching) -> None:
    """A name that two accounts have is found in both, so that nobody guesses."""
    assert reaching.cache.known(_ONE, "demo") == ()
    assert await reaching.accounts() == ["acc", "other"]
    assert await reaching.accounts("models") == ["acc"]
    assert reaching.cache.known(_ONE, "models") == (Container("acc", "models", "https://acc.blob.dev.invalid/models"),)
    assert reaching.listings == 1


async def test_a_herd_of_cold_callers_makes_one_listing(reaching: Reaching) -> None:
    """Fifty pods that start at once are one listing."""
    gate = reaching.cloud.hold("find_accounts")
    waiting = [asyncio.create_task(reaching.accounts()) for _ in range(50)]
    await reaching.settle()
    gate.set()
    assert await asyncio.gather(*waiting) == [["acc", "other"]] * 50
    assert reaching.listings == 1


async def test_an_old_listing_is_renewed_behind_the_callers_backs(reaching: Reaching) -> None:
    """Nobody waits for the renewal, and what it finds counts from then on."""
    await reaching.accounts()
    reaching.cloud.containers["third"] = {"demo"}
    reaching.clock.now = NOW + 299
    assert await reaching.accounts() == ["acc", "other"]
    await reaching.settle()
    assert reaching.listings == 1
    reaching.clock.now = NOW + 301
    gate = reaching.cloud.hold("find_accounts")
    for _ in range(3):
        assert await reaching.accounts() == ["acc", "other"]
        await reaching.settle()
    gate.set()
    await reaching.settle()
    assert await reaching.accounts() == ["acc", "other", "third"]
    assert reaching.listings == 2


async def test_an_unknown_name_is_looked_up_again_every_few_seconds_at_most(reaching: Reaching) -> None:
    """A new container is found soon, and a typing error in a loop is no load on Azure."""
    for _ in range(10):
        assert await reaching.accounts("fresh") == []
    assert reaching.listings == 1
    reaching.cloud.containers["acc"].add("fresh")
    reaching.clock.now = NOW + 4.9
    assert await reaching.accounts("fresh") == []
    reaching.clock.now = NOW + 5
    assert await reaching.accounts("fresh") == ["acc"]
    assert reaching.listings == 2


async def test_failures_are_kept_for_a_moment_only(reaching: Reaching) -> None:
    """Soon after Azure's recovery requests work."""
    reaching.cloud.fail("find_accounts", Reason.CLOUD_UNAVAILABLE, times=1)
    with pytest.raises(BrokerError) as caught:
        await reaching.accounts()
    assert caught.value.reason is Reason.CLOUD_UNAVAILABLE
    reaching.clock.now = NOW + 1
    assert await reaching.accounts() == ["acc", "other"]


async def test_a_throttle_is_kept_for_as_long_as_azure_said(reaching: Reaching) -> None:
    """Until then nobody asks again, and each caller is told the seconds that are left."""
    error = BrokerError(Reason.CLOUD_THROTTLED, "later", retry_after=20)
    reaching.cloud.fail("find_accounts", error, times=1)
    for passed, left in ((0, 20), (19, 1)):
        reaching.clock.now = NOW + passed
        with pytest.raises(BrokerError) as caught:
            await reaching.accounts()
        assert (caught.value.reason, caught.value.retry_after) == (Reason.CLOUD_THROTTLED, left)
    assert reaching.listings == 1
    reaching.clock.now = NOW + 20
    assert await reaching.accounts() == ["acc", "other"]


async def test_a_throttled_renewal_waits_as_long_as_azure_said(reaching: Reaching) -> None:
    """Old knowledge serves meanwhile, and Azure is left in peace."""
    await reaching.accounts()
    reaching.clock.now = NOW + 1000
    reaching.cloud.fail("find_accounts", BrokerError(Reason.CLOUD_THROTTLED, "later", retry_after=50), times=1)
    for passed, listings in ((0.0, 2), (49.0, 2), (1.0, 3)):
        reaching.clock.now += passed
        assert await reaching.accounts() == ["acc", "other"]
        await reaching.settle()
        assert reaching.listings == listings


async def test_with_azure_away_old_knowledge_serves(reaching: Reaching) -> None:
    """A failed renewal is tried again soon, not at every call."""
    await reaching.accounts()
    reaching.clock.now = NOW + 1000
    reaching.cloud.fail("find_accounts", Reason.CLOUD_UNAVAILABLE)
    for _ in range(5):
        assert await reaching.accounts() == ["acc", "other"]
        await reaching.settle()
    assert reaching.listings == 2
    reaching.clock.now += 5.1
    assert await reaching.accounts() == ["acc", "other"]
    await reaching.settle()
    assert reaching.listings == 3


async def test_a_caller_who_hangs_up_does_not_take_the_others_along(reaching: Reaching) -> None:
    """One cancelled call leaves the listing going for everybody else."""
    gate = reaching.cloud.hold("find_accounts")
    leaving, staying = [asyncio.create_task(reaching.accounts()) for _ in range(2)]
    await reaching.settle()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.set()
    assert await staying == ["acc", "other"]
    assert reaching.listings == 1


async def test_a_cloud_that_does_not_answer_is_given_up(reaching: Reaching) -> None:
    """A hanging Azure becomes an error that says so."""
    reaching.cloud.hold("find_accounts")
    with pytest.raises(BrokerError, match="did not answer connector one") as caught:
        await reaching.accounts()
    assert caught.value.reason is Reason.CLOUD_UNAVAILABLE


async def test_forget_drops_a_listing(reaching: Reaching) -> None:
    """A namesake of a deleted connector starts from nothing, and strangers can be forgotten too."""
    await reaching.accounts()
    reaching.cache.forget(_ONE.uid)
    reaching.cache.forget("unknown")
    assert reaching.cache.known(_ONE, "demo") == ()


async def test_callers_who_wait_while_the_connector_goes_are_told(reaching: Reaching) -> None:
    """They get an error, not a cancellation that is not theirs."""
    reaching.cloud.hold("find_accounts")
    waiting = asyncio.create_task(reaching.accounts())
    await reaching.settle()
    reaching.cache.forget(_ONE.uid)
    with pytest.raises(BrokerError, match="deleted or made anew just now") as caught:
        await waiting
    assert caught.value.reason is Reason.CONFLICT


async def test_close_ends_what_is_under_way(reaching: Reaching) -> None:
    """Nothing is left running after the broker's end."""
    reaching.cloud.hold("find_accounts")
    waiting = asyncio.create_task(reaching.accounts())
    await reaching.settle()
    await reaching.cache.close()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "reach"]


def _away(account: str) -> BrokerError:
    return BrokerError(Reason.CLOUD_UNAVAILABLE, f"no answer from {account}")


async def test_a_sick_account_hides_nothing_of_a_healthy_one(reaching: Reaching) -> None:
    """A first token for a container of a healthy account needs the healthy account only."""
    reaching.cloud.sick["other"] = _away("other")
    assert await reaching.accounts("models") == ["acc"]
    reach = await reaching.cache.reach(_ONE)
    assert [container.name for container in reach.containers] == ["demo", "models"]
    assert [(each.account, each.error.reason) for each in reach.errors] == [("other", Reason.CLOUD_UNAVAILABLE)]


async def test_nothing_found_is_told_with_what_could_not_be_asked(reaching: Reaching) -> None:
    """Whether it is not there, or only not seen, is for the caller of the cache to tell."""
    reaching.cloud.sick["other"] = _away("other")
    reach = await reaching.cache.find(_ONE, "elsewhere")
    assert not reach.containers
    assert [each.account for each in reach.errors] == ["other"]


async def test_an_account_that_hangs_does_not_hold_up_who_found_theirs(reaching: Reaching) -> None:
    """Whoever found a container waits a moment for the other accounts, not until they are given up."""
    hanging = asyncio.Event()
    ask = reaching.cloud.list_containers

    async def hang(connector: Connector, credential: Credential, account: str) -> Sequence[Container]:
        if account == "other":
            await hanging.wait()
        return await ask(connector, credential, account)

    reaching.cloud.list_containers = hang  # type: ignore[method-assign]
    patient = ReachCache(CloudClient(reaching.cloud, credential_of, 30), reaching.clock, 300, straggler_seconds=0.05)
    async with asyncio.timeout(25):
        assert [each.account for each in (await patient.find(_ONE, "models")).containers] == ["acc"]
    hanging.set()
    await patient.close()


async def test_a_named_account_is_the_only_one_asked_and_nothing_is_listed(reaching: Reaching) -> None:
    """Rights on one container are enough for whoever says where it is."""
    reaching.cloud.unlistable = {"acc", "other"}
    reaching.cloud.sick["other"] = _away("other")
    for connector, account in ((_ONE, "acc"), (make_connector("two", storage_account="acc"), "")):
        reaching.cloud.calls.clear()
        for _ in range(2):
            reach = await reaching.cache.find(connector, "models", account)
            assert [container.account for container in reach.containers] == ["acc"]
        assert reaching.cloud.calls == {"check_container": 1}


async def test_a_named_account_outside_the_connectors_bounds_is_not_asked(reaching: Reaching) -> None:
    """A connector that was narrowed to a resource group serves the accounts in there, whatever a caller names."""
    narrowed = make_connector("narrow")
    narrowed = replace(narrowed, azure=replace(narrowed.azure, resource_group="rg"))
    assert not (await reaching.cache.find(narrowed, "demo", "foreign")).containers
    assert reaching.cloud.calls == {"find_accounts": 1}
    bound = make_connector("bound", storage_account="acc")
    reaching.cloud.calls.clear()
    assert not (await reaching.cache.find(bound, "demo", "other")).containers
    assert not reaching.cloud.calls


async def test_listing_and_finding_share_what_they_learn(reaching: Reaching) -> None:
    """Whoever lists resources first and asks for a token then makes the broker sweep once."""
    await reaching.cache.reach(_ONE)
    assert await reaching.accounts("models") == ["acc"]
    assert reaching.cloud.calls == {"find_accounts": 1, "list_containers": 2}


async def test_a_listing_stands_for_two_seconds(reaching: Reaching) -> None:
    """Callers in a loop are no load on Azure, and new containers show up soon."""
    for passed, sweeps in ((0.0, 1), (1.9, 1), (0.1, 2)):
        reaching.clock.now += passed
        await reaching.cache.reach(_ONE)
        assert reaching.listings == sweeps


async def test_whoever_asks_anew_is_not_told_what_is_in_memory(reaching: Reaching) -> None:
    """A container made a moment ago is there at once, one that went away is not; at the same time, one question."""
    single = make_connector("single", "demo", account="acc")
    await reaching.cache.reach(_ONE)
    await reaching.cache.reach(single)
    reaching.cloud.containers = {"acc": {"demo", "fresh"}, "third": {"x"}}
    reaches = await asyncio.gather(*(reaching.cache.reach(_ONE, anew=True) for _ in range(5)))
    for reach in reaches:
        assert [(each.account, each.name) for each in reach.containers] == [
            ("acc", "demo"),
            ("acc", "fresh"),
            ("third", "x"),
        ]
    assert reaching.listings == 2
    reaching.cloud.containers["acc"].discard("demo")
    with pytest.raises(BrokerError) as caught:
        await reaching.cache.reach(single, anew=True)
    assert caught.value.reason is Reason.RESOURCE_NOT_FOUND


async def test_asking_anew_keeps_to_what_azure_said(reaching: Reaching) -> None:
    """Whoever refreshes in a loop does not talk to an Azure that wants to be left in peace."""
    reaching.cloud.fail("find_accounts", BrokerError(Reason.CLOUD_THROTTLED, "later", retry_after=20))
    for _ in range(3):
        with pytest.raises(BrokerError) as caught:
            await reaching.cache.reach(_ONE, anew=True)
        assert caught.value.reason is Reason.CLOUD_THROTTLED
    assert reaching.listings == 1


async def test_a_throttled_subscription_is_left_in_peace(reaching: Reaching) -> None:
    """Where one of several asks to wait, nobody looks for accounts until then; those found serve meanwhile."""
    reaching.cloud.search_errors = [BrokerError(Reason.CLOUD_THROTTLED, "later", retry_after=20)]
    for passed, searches, left in ((0, 1, 20), (19, 1, 1), (20, 2, 20)):
        reaching.clock.now = NOW + passed
        reach = await reaching.cache.reach(_ONE, anew=True)
        assert len(reach.containers) == 3
        assert [each.error.retry_after for each in reach.errors] == [left]
        assert reaching.listings == searches


async def test_another_secret_of_the_same_principal_reaches_the_same(reaching: Reaching) -> None:
    """Nobody waits for Azure after a rotation; what another auth method reached is not believed of it."""
    await reaching.accounts()
    assert len(reaching.cache.known(make_connector("one", uid=_ONE.uid, version=2), "demo")) == 2
    assert reaching.cache.known(replace(_ONE, auth_method="implicit", credential_version=2), "demo") == ()


async def test_a_container_that_was_deleted_is_forgotten_when_it_is_looked_at(reaching: Reaching) -> None:
    """A container that was named with its account is looked at again once its time is over."""
    await reaching.cache.find(_ONE, "models", "acc")
    reaching.cloud.containers["acc"].discard("models")
    reaching.clock.now = NOW + 301
    reaching.cache.known(_ONE, "models", "acc")
    await reaching.settle()
    assert not reaching.cache.known(_ONE, "models", "acc")


async def test_a_container_that_is_made_while_its_account_is_listed_is_not_forgotten(reaching: Reaching) -> None:
    """The cloud may have looked before that: who was given a token for it is not told a moment later that it is not
    there.
    """
    await reaching.accounts()
    reaching.clock.now = NOW + 301
    gate = reaching.cloud.hold("list_containers")
    listing = asyncio.create_task(reaching.cache.reach(_ONE))
    await reaching.settle()
    old = {account: sorted(names) for account, names in reaching.cloud.containers.items()}
    reaching.cloud.containers["acc"].add("fresh")
    assert (await reaching.cache.find(_ONE, "fresh", "acc")).containers
    reaching.cloud.containers = {account: set(names) for account, names in old.items()}
    gate.set()
    await listing
    assert await reaching.accounts("fresh") == ["acc"]


async def test_the_work_of_a_sweep_grows_with_its_accounts() -> None:
    """Four times as many accounts are four times as many steps of the event loop and looks at names, not sixteen."""

    async def steps(accounts: int) -> int:
        cloud = FakeCloud(
            {f"acc{n:03}": [f"c{n:03}-{m:02}" for m in range(50)] for n in range(accounts)}, profile=PROFILE
        )
        cache = ReachCache(CloudClient(cloud, credential_of, 30), FakeClock(), 300)
        count = 0

        def counted(_frame: object, event: str, _argument: object) -> None:
            nonlocal count
            count += event == "call"

        sys.setprofile(counted)
        try:
            reach = await cache.reach(_ONE)
        finally:
            sys.setprofile(None)
        assert len(reach.containers) == accounts * 50
        assert cloud.calls["list_containers"] == accounts
        await cache.close()
        return count

    few, many = await steps(50), await steps(200)
    assert many < few * 4.4


async def test_what_was_reached_by_another_way_in_is_not_believed(reaching: Reaching) -> None:
    """A connector that leads elsewhere by now does not serve from what it reached before."""
    await reaching.accounts()
    changed = replace(_ONE, azure=replace(_ONE.azure, client_id="33333333-3333-4333-8333-333333333333"))
    reaching.cache.forget_earlier(_ONE)
    assert reaching.cache.known(changed, "demo") == ()
    assert len(reaching.cache.known(_ONE, "demo")) == 2
    reaching.cache.forget_earlier(changed)
    assert reaching.cache.known(_ONE, "demo") == ()


async def test_a_clock_that_is_set_back_keeps_nothing_of_the_future(reaching: Reaching) -> None:
    """A clock that was ahead may be why Azure refused: set right, it is asked again, and what it listed then is old."""
    reaching.clock.now = NOW + 86_400
    reaching.cloud.fail("find_accounts", Reason.CLOUD_CREDENTIAL_REJECTED, times=1)
    with pytest.raises(BrokerError):
        await reaching.accounts()
    reaching.clock.now = NOW
    assert await reaching.accounts() == ["acc", "other"]
    reaching.clock.now = NOW - 86_400
    reaching.cloud.containers["acc"].add("new")
    assert [each.name for each in (await reaching.cache.reach(_ONE)).containers] == ["demo", "models", "new", "demo"]
