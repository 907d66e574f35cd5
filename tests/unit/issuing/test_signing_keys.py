"""SigningKeys: one fetch for a herd, renewal that nobody waits for, and Azure's absence without a stampede."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from support.core import NOW, PROFILE, FakeClock, credential_of, make_connector
from support.fake_cloud import FakeCloud
from support.waiting import eventually
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.adapters.azure.auth_methods.account_key import AccountKey
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.issuing.signing_keys import SigningKeys
from valetkey_broker.model import Connector, Credential, Secret

_HOUR = 3600.0
_DAY = 24 * _HOUR
_ONE = make_connector("one")


class Keys:
    """Delegation keys on a fake cloud, with a clock that stands still."""

    def __init__(self, key_seconds: float = _DAY) -> None:
        self.clock = FakeClock()
        self.cloud = FakeCloud({"acc": ["demo"], "other": ["demo"]}, profile=PROFILE)
        self.keys = SigningKeys(
            questions=CloudClient(self.cloud, credential_of, 0.3),
            clock=self.clock,
            key_seconds=int(key_seconds),
            skew_seconds=900,
            auth_methods=AUTH_METHODS,
        )

    @property
    def fetches(self) -> int:
        return self.cloud.calls["signing_key"]

    async def settle(self) -> None:
        """Lets background work go on as far as it can: to its end, or to where the cloud holds it."""
        for _ in range(10):
            await asyncio.sleep(0)
        await eventually(lambda: self.cloud.holds_somebody or not self.keys._flights.active())


@pytest_asyncio.fixture
async def keys() -> AsyncIterator[Keys]:
    """Keys that live a day."""
    keys = Keys()
    yield keys
    await keys.keys.close()


async def test_a_herd_of_cold_callers_makes_one_call(keys: Keys) -> None:
    """Fifty pods that start at once are one request to Azure."""
    gate = keys.cloud.hold("signing_key")
    waiting = [asyncio.create_task(keys.keys.get(_ONE, "acc", NOW + _HOUR)) for _ in range(50)]
    await keys.settle()
    gate.set()
    got = await asyncio.gather(*waiting)
    assert keys.fetches == 1
    assert len({id(key) for key in got}) == 1


async def test_a_key_is_fetched_for_hours_and_begins_before_the_first_token(keys: Keys) -> None:
    """The key's times cover every token it will sign, the backdated start included."""
    key = await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    assert key.expires == NOW + _DAY
    assert key.starts <= NOW - 900


async def test_azures_seven_days_are_counted_from_the_start() -> None:
    """A week's key that begins in the past must not end a week from now: Azure refuses that."""
    keys = Keys(7 * _DAY)
    key = await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    assert key.expires - key.starts <= 7 * _DAY
    await keys.keys.close()


async def test_a_held_key_needs_nobody(keys: Keys) -> None:
    """The hot path asks neither Azure nor Vault."""
    assert keys.keys.held(_ONE, "acc", NOW + _HOUR) is None
    key = await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    assert keys.keys.held(_ONE, "acc", NOW + _HOUR) is key
    assert await keys.keys.get(_ONE, "acc", NOW + _HOUR) is key
    assert keys.fetches == 1


async def test_keys_are_apart_by_connector_principal_and_account(keys: Keys) -> None:
    """No caller is served with a key that another connector, principal or account was given."""
    again = replace(_ONE, azure=replace(_ONE.azure, client_id="99999999-9999-4999-8999-999999999999"))
    for connector, account in ((_ONE, "acc"), (_ONE, "other"), (again, "acc"), (make_connector("one"), "acc")):
        await keys.keys.get(connector, account, NOW + _HOUR)
    assert keys.fetches == 4
    assert len({key.material for key in keys.cloud.keys}) == 4


async def test_renewal_at_half_life_waits_for_nobody(keys: Keys) -> None:
    """From half its life on a key is renewed in the background, once, while callers go on with it."""
    old = await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    keys.clock.now = NOW + _DAY / 2 - 1
    assert keys.keys.held(_ONE, "acc", keys.clock.now + _HOUR) is old
    await keys.settle()
    assert keys.fetches == 1
    keys.clock.now = NOW + _DAY / 2
    gate = keys.cloud.hold("signing_key")
    for _ in range(3):
        assert await keys.keys.get(_ONE, "acc", keys.clock.now + _HOUR) is old
        await keys.settle()
    gate.set()
    await keys.settle()
    assert keys.fetches == 2
    new = keys.keys.held(_ONE, "acc", keys.clock.now + _HOUR)
    assert new is not None
    assert new.expires == keys.clock.now + _DAY


async def test_a_renewal_that_fails_is_told_and_tried_again_later(keys: Keys) -> None:
    """Azure away in the background: one line, no stampede, and the next try half a minute later."""
    old = await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    keys.clock.now = NOW + _DAY / 2
    keys.cloud.fail("signing_key", Reason.CLOUD_UNAVAILABLE)
    with capture_logs() as logs:
        for _ in range(5):
            assert keys.keys.held(_ONE, "acc", keys.clock.now + _HOUR) is old
            await keys.settle()
    assert keys.fetches == 2
    assert [line["reason"] for line in logs] == ["CLOUD_UNAVAILABLE"]
    keys.cloud.heal()
    keys.clock.now += 30
    keys.keys.held(_ONE, "acc", keys.clock.now + _HOUR)
    await keys.settle()
    assert keys.keys.held(_ONE, "acc", keys.clock.now + _HOUR) is not old


async def test_an_unforeseen_failure_in_the_background_shows_its_type_only(keys: Keys) -> None:
    """A bug's text may hold anything, so it stays out of the log; the key at hand goes on."""

    async def broken(_: object) -> object:
        raise ValueError("PLANTED")

    old = await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    keys.keys._questions._credential = broken  # type: ignore[assignment]
    keys.clock.now = NOW + _DAY / 2
    with capture_logs() as logs:
        assert keys.keys.held(_ONE, "acc", keys.clock.now + _HOUR) is old
        await keys.settle()
    assert [line["reason"] for line in logs] == ["ValueError"]
    assert "PLANTED" not in str(logs)


async def test_passing_failures_are_not_kept(keys: Keys) -> None:
    """The first request after Azure's recovery works."""
    keys.cloud.fail("signing_key", Reason.CLOUD_UNAVAILABLE, times=1)
    with pytest.raises(BrokerError) as caught:
        await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    assert caught.value.reason is Reason.CLOUD_UNAVAILABLE
    assert await keys.keys.get(_ONE, "acc", NOW + _HOUR)


@pytest.mark.parametrize("reason", [Reason.CLOUD_PERMISSION_MISSING, Reason.CLOUD_CREDENTIAL_REJECTED])
async def test_refusals_are_kept_for_a_moment(keys: Keys, reason: Reason) -> None:
    """A broken secret that callers hammer is no hammering of Entra; a moment later it may be mended."""
    keys.cloud.fail("signing_key", reason, times=1)
    for _ in range(20):
        with pytest.raises(BrokerError) as caught:
            await keys.keys.get(_ONE, "acc", NOW + _HOUR)
        assert caught.value.reason is reason
    assert keys.fetches == 1
    keys.clock.now = NOW + 5
    assert await keys.keys.get(_ONE, "acc", keys.clock.now + _HOUR)


async def test_a_throttle_is_kept_for_as_long_as_azure_said(keys: Keys) -> None:
    """Until then nobody asks again, and each caller is told the seconds that are left."""
    keys.cloud.fail("signing_key", BrokerError(Reason.CLOUD_THROTTLED, "later", {"step": "x"}, retry_after=20), times=1)
    for passed, left in ((0, 20), (5, 15), (19, 1)):
        keys.clock.now = NOW + passed
        with pytest.raises(BrokerError) as caught:
            await keys.keys.get(_ONE, "acc", NOW + _HOUR)
        assert caught.value.reason is Reason.CLOUD_THROTTLED
        assert caught.value.retry_after == left
        assert caught.value.metadata == {"step": "x"}
    assert keys.fetches == 1
    assert await keys.keys.get(make_connector("two"), "acc", NOW + _HOUR), "others are not held up"
    keys.clock.now = NOW + 20
    assert await keys.keys.get(_ONE, "acc", NOW + _HOUR)


async def test_a_throttle_without_a_time_lasts_a_second(keys: Keys) -> None:
    """Azure may leave Retry-After out."""
    keys.cloud.fail("signing_key", BrokerError(Reason.CLOUD_THROTTLED, "later"), times=1)
    with pytest.raises(BrokerError):
        await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    keys.clock.now = NOW + 1
    assert await keys.keys.get(_ONE, "acc", NOW + _HOUR)


async def test_a_throttled_renewal_waits_as_long_as_azure_said(keys: Keys) -> None:
    """Background work honours Retry-After too."""
    old = await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    keys.clock.now = NOW + _DAY / 2
    keys.cloud.fail("signing_key", BrokerError(Reason.CLOUD_THROTTLED, "later", retry_after=100), times=1)
    keys.keys.held(_ONE, "acc", keys.clock.now + _HOUR)
    await keys.settle()
    for passed, fetches in ((99.0, 2), (1.0, 3)):
        keys.clock.now += passed
        assert keys.keys.held(_ONE, "acc", keys.clock.now + _HOUR) is old
        await keys.settle()
        assert keys.fetches == fetches


async def test_a_caller_who_hangs_up_does_not_take_the_others_along(keys: Keys) -> None:
    """One cancelled call leaves the fetch going for everybody else."""
    gate = keys.cloud.hold("signing_key")
    leaving, staying = [asyncio.create_task(keys.keys.get(_ONE, "acc", NOW + _HOUR)) for _ in range(2)]
    await keys.settle()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.set()
    assert await staying
    assert keys.fetches == 1


async def test_a_failure_that_nobody_waits_for_any_more_is_no_warning(keys: Keys) -> None:
    """All callers gone, the fetch fails: nothing is printed about exceptions that were never retrieved."""
    gate = keys.cloud.hold("signing_key")
    keys.cloud.fail("signing_key", Reason.CLOUD_UNAVAILABLE)
    leaving = asyncio.create_task(keys.keys.get(_ONE, "acc", NOW + _HOUR))
    await keys.settle()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    gate.set()
    await keys.settle()
    assert keys.fetches == 1


async def test_a_key_that_is_too_short_is_replaced(keys: Keys) -> None:
    """A token that would outlive the key at hand gets a new one."""
    await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    keys.clock.now = NOW + _DAY - 600
    assert keys.keys.held(_ONE, "acc", keys.clock.now + _HOUR) is None
    key = await keys.keys.get(_ONE, "acc", keys.clock.now + _HOUR)
    assert key.expires >= keys.clock.now + _HOUR


@pytest.mark.parametrize("reason", [Reason.CLOUD_UNAVAILABLE, Reason.CLOUD_THROTTLED])
async def test_with_azure_away_a_key_that_ends_early_is_used(keys: Keys, reason: Reason) -> None:
    """A shorter token beats none, until the key has a minute left."""
    old = await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    keys.cloud.fail("signing_key", BrokerError(reason, "away", retry_after=5))
    keys.clock.now = old.expires - 61
    with capture_logs() as logs:
        assert await keys.keys.get(_ONE, "acc", keys.clock.now + _HOUR) is old
    assert any("ends early" in line["event"] for line in logs)
    keys.clock.now = old.expires - 60
    with pytest.raises(BrokerError) as caught:
        await keys.keys.get(_ONE, "acc", keys.clock.now + _HOUR)
    assert caught.value.reason is reason


async def test_a_cloud_that_does_not_answer_is_given_up(keys: Keys) -> None:
    """A hanging Azure becomes an error that says so, for all who wait."""
    keys.cloud.hold("signing_key")
    with pytest.raises(BrokerError, match="did not answer connector one") as caught:
        await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    assert caught.value.reason is Reason.CLOUD_UNAVAILABLE


async def test_forget_ends_a_connectors_keys_only(keys: Keys) -> None:
    """After a deletion no key of the connector is at hand; others keep theirs."""
    two = make_connector("two")
    for connector in (_ONE, two):
        await keys.keys.get(connector, "acc", NOW + _HOUR)
    keys.keys.forget(_ONE.uid)
    keys.keys.forget("unknown")
    assert keys.keys.held(_ONE, "acc", NOW + _HOUR) is None
    assert keys.keys.held(two, "acc", NOW + _HOUR) is not None


@pytest.mark.parametrize("warm", [False, True])
async def test_callers_who_wait_while_the_connector_goes_are_told(keys: Keys, *, warm: bool) -> None:
    """They get an error, neither a cancellation that is not theirs nor a token of a connector that is gone."""
    if warm:
        await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    keys.cloud.hold("signing_key")
    waiting = asyncio.create_task(keys.keys.get(_ONE, "acc", NOW + 2 * _DAY))
    await keys.settle()
    keys.keys.forget(_ONE.uid)
    with pytest.raises(BrokerError, match="deleted or made anew just now") as caught:
        await waiting
    assert caught.value.reason is Reason.CONFLICT


async def test_close_ends_what_is_under_way(keys: Keys) -> None:
    """Nothing is left running after the broker's end."""
    keys.cloud.hold("signing_key")
    waiting = asyncio.create_task(keys.keys.get(_ONE, "acc", NOW + _HOUR))
    await keys.settle()
    await keys.keys.close()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("delegation-key")]


async def test_tokens_as_long_as_the_key_do_not_ask_for_a_key_each(keys: Keys) -> None:
    """A token gets the key's remaining life where that is a good part of what was asked for."""
    lenient = SigningKeys(
        questions=CloudClient(keys.cloud, credential_of, 0.3),
        clock=keys.clock,
        key_seconds=int(_DAY),
        skew_seconds=900,
        shortest_share=0.5,
        auth_methods=AUTH_METHODS,
    )
    key = await lenient.get(_ONE, "acc", NOW + _DAY)
    for passed in range(10):
        keys.clock.now = NOW + passed
        assert lenient.held(_ONE, "acc", keys.clock.now + _DAY) is key
    assert keys.fetches == 1
    await lenient.close()


async def test_a_key_of_a_clock_that_was_ahead_is_not_used(keys: Keys) -> None:
    """Set right again, the clock stands before the key begins: a new one is fetched."""
    keys.clock.now = NOW + 2 * _DAY
    ahead = await keys.keys.get(_ONE, "acc", keys.clock.now + _HOUR)
    keys.clock.now = NOW
    assert keys.keys.held(_ONE, "acc", NOW + _HOUR) is None
    key = await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    assert key is not ahead
    assert key.starts < NOW


async def test_a_dropped_key_is_replaced_by_one_that_begins_no_earlier(keys: Keys) -> None:
    """Storage refuses keys that begin before a revocation, and keys are backdated otherwise."""
    old = await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    dropped = replace(_ONE, keys_not_before=int(NOW))
    assert keys.keys.held(dropped, "acc", NOW + _HOUR) is None
    fresh = await keys.keys.get(dropped, "acc", NOW + _HOUR)
    assert old.starts < NOW <= fresh.starts
    assert keys.keys.of(dropped) == [fresh]
    assert keys.keys.of(_ONE) == []
    assert len(keys.keys._entries) == 1


async def test_a_key_that_was_revoked_can_be_tried_for_as_long_as_its_connector_is_there(keys: Keys) -> None:
    """That storage takes it no more is proved by it alone: not by one of another account, connector or time."""
    another = make_connector("another")
    old = await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    elsewhere = await keys.keys.get(_ONE, "other", NOW + _HOUR)
    anothers = await keys.keys.get(another, "acc", NOW + _HOUR)
    assert keys.keys.revoked(_ONE, "acc", 0, NOW) is old
    dropped = replace(_ONE, keys_not_before=int(NOW))
    fresh = await keys.keys.get(dropped, "acc", NOW + _HOUR)
    assert keys.keys.revoked(dropped, "acc", 0, NOW) is keys.keys.revoked(dropped, "acc", old.starts, NOW) is old
    assert keys.keys.revoked(dropped, "acc", old.starts + 1, NOW) is None
    assert keys.keys.revoked(dropped, "acc", 0, old.starts) is None
    assert keys.keys.revoked(dropped, "acc", NOW, NOW + 1) is fresh
    assert keys.keys.revoked(dropped, "other", 0, NOW) is elsewhere
    assert keys.keys.revoked(another, "acc", 0, NOW) is anothers
    keys.keys.forget(_ONE.uid)
    assert keys.keys.revoked(dropped, "acc", 0, NOW + 1) is None
    assert keys.keys.revoked(another, "acc", 0, NOW) is anothers


async def test_a_key_of_an_earlier_principal_was_not_revoked(keys: Keys) -> None:
    """Another principal signs now; what the one before signed may well be taken still, and proves nothing."""
    await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    led_elsewhere = replace(_ONE, azure=replace(_ONE.azure, client_id="33333333-3333-4333-8333-333333333333"))
    fresh = await keys.keys.get(led_elsewhere, "acc", NOW + _HOUR)
    assert keys.keys.revoked(led_elsewhere, "acc", 0, NOW) is fresh
    keys.keys.forget_earlier(_ONE)
    assert keys.keys.revoked(led_elsewhere, "acc", 0, NOW) is None


async def test_since_when_the_cloud_gives_no_key_is_known(keys: Keys) -> None:
    """For those who look at the broker from outside: since when, and when somebody was told so last."""
    keys.cloud.fail("signing_key", Reason.CLOUD_UNAVAILABLE, times=2)
    for seconds in (0, 100):
        keys.clock.now = NOW + seconds
        with pytest.raises(BrokerError):
            await keys.keys.get(_ONE, "acc", keys.clock.now + _HOUR)
        (told,) = keys.keys.in_memory([_ONE])
        assert (told.key, told.failing_since, told.refused_at) == (None, NOW, NOW + seconds)
    assert keys.keys.of(_ONE) == []
    key = await keys.keys.get(_ONE, "acc", keys.clock.now + _HOUR)
    (told,) = keys.keys.in_memory([_ONE])
    assert (told.key, told.failing_since) == (key, None)
    assert not list(keys.keys.in_memory([make_connector("another")]))


async def test_with_the_cloud_hanging_one_caller_waits_and_the_others_get_the_key_at_hand(keys: Keys) -> None:
    """A key that ends a little too early is better than a wait of seconds for each token."""
    key = await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    keys.clock.now = NOW + _DAY - 2 * _HOUR
    keys.cloud.fail("signing_key", Reason.CLOUD_UNAVAILABLE)
    for _ in range(20):
        assert await keys.keys.get(_ONE, "acc", keys.clock.now + 3 * _HOUR) is key
    assert keys.fetches == 2
    keys.cloud.heal()
    keys.clock.now += 31
    assert await keys.keys.get(_ONE, "acc", keys.clock.now + 3 * _HOUR) is not key


async def test_a_connector_that_leads_elsewhere_signs_with_no_key_of_before(keys: Keys) -> None:
    """A key belongs to the way in it was fetched by: not the next caller gets it, nor one who is late, nor lists."""
    await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    changed = replace(_ONE, azure=replace(_ONE.azure, client_id="33333333-3333-4333-8333-333333333333"))
    assert keys.keys.held(changed, "acc", NOW + _HOUR) is None
    gate = keys.cloud.hold("signing_key")
    late = asyncio.create_task(keys.keys.get(_ONE, "other", NOW + _HOUR))
    await keys.settle()
    keys.keys.forget_earlier(changed)
    gate.set()
    await late
    assert list(keys.keys.of(_ONE)) == []
    key = await keys.keys.get(changed, "acc", NOW + _HOUR)
    keys.keys.forget_earlier(changed)
    assert list(keys.keys.of(changed)) == [key]


async def test_another_secret_of_the_same_principal_signs_with_the_same_key(keys: Keys) -> None:
    """Azure gave the key to the principal; what went wrong with the secret before is no reason not to ask again."""
    key = await keys.keys.get(_ONE, "acc", NOW + _HOUR)
    keys.cloud.fail("signing_key", Reason.CLOUD_CREDENTIAL_REJECTED)
    with pytest.raises(BrokerError):
        await keys.keys.get(_ONE, "other", NOW + _HOUR)
    keys.cloud.heal()
    rotated = replace(_ONE, credential_version=2)
    keys.keys.forget_earlier(rotated)
    assert keys.keys.held(rotated, "acc", NOW + _HOUR) is key
    await keys.keys.get(rotated, "other", NOW + _HOUR)


async def test_an_accounts_own_key_is_fetched_once_and_never_renewed() -> None:
    """It has no end: a week on it signs as on the first day, and a credential in a new version is another key."""
    clock, cloud = FakeClock(), FakeCloud({"acc": ["demo"]}, profile=PROFILE)

    async def of_account(connector: Connector) -> Credential:
        return Credential(connector.credential_version, AccountKey(Secret("the key")))

    keys = SigningKeys(
        questions=CloudClient(cloud, of_account, 0.3),
        clock=clock,
        key_seconds=int(_DAY),
        skew_seconds=900,
        auth_methods=AUTH_METHODS,
    )
    one = replace(_ONE, auth_method="account-key")
    first = await keys.get(one, "acc", NOW + _HOUR)
    clock.now += 7 * _DAY
    assert keys.held(one, "acc", clock.now + 7 * _DAY) is first
    await asyncio.sleep(0)
    assert cloud.calls["signing_key"] == 1
    assert await keys.get(replace(one, credential_version=2), "acc", clock.now + _HOUR) is not first
    await keys.close()


async def test_a_key_that_counts_by_the_clouds_clock_is_fetched_once(keys: Keys) -> None:
    """The broker's clock is behind when keys are revoked: no other would begin earlier, and callers share the one."""
    revoked = replace(_ONE, keys_not_before=int(NOW) + 60)
    key = await keys.keys.get(revoked, "acc", NOW + _HOUR)
    assert key.starts == NOW + 60
    assert await keys.keys.get(revoked, "acc", NOW + _HOUR) is key
    assert keys.fetches == 1
