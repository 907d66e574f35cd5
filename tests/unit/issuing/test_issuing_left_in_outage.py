"""For how long issuing would go on without Vault, and without Entra: told from memory, by a clock that stands still."""

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field, replace

import pytest
import pytest_asyncio

from support.core import NOW, PROFILE, FakeClock, credential_of, make_connector
from support.fake_cloud import FakeCloud
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.issuing.issuing_left_in_outage import AccountLeft, IssuingLeft, Left
from valetkey_broker.issuing.signing_keys import KeyInMemory, SigningKeys
from valetkey_broker.model import Connector
from valetkey_broker.state.memory import Memory

_HOUR = 3600.0
_DAY = 24 * _HOUR
_LAST = 60.0
_ONE, _TWO, _IDLE = (make_connector(name) for name in ("one", "two", "idle"))
_BY_KEY = replace(make_connector("by-key"), auth_method="account-key")


@dataclass
class FakeVault:
    """Answered just now, until a test says otherwise."""

    left: float = _HOUR
    away: float | None = None

    def seconds_left(self) -> float:
        return self.left

    def seconds_away(self) -> float | None:
        return self.away


@dataclass
class Scene:
    """What the answer comes of."""

    clock: FakeClock = field(default_factory=FakeClock)
    vault: FakeVault = field(default_factory=FakeVault)
    memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        self.cloud = FakeCloud({"acc": ["demo"], "other": ["demo"]}, profile=PROFILE)
        self.keys = SigningKeys(
            questions=CloudClient(self.cloud, credential_of, 0.3),
            clock=self.clock,
            key_seconds=int(_DAY),
            skew_seconds=900,
            auth_methods=AUTH_METHODS,
        )
        self._of = IssuingLeft(self.memory, self.keys, AUTH_METHODS, self.vault, self.clock)

    def register(self, *connectors: Connector) -> None:
        for each in connectors:
            self.memory.connectors[each.name] = each

    async def sign(self, connector: Connector, account: str) -> None:
        await self.keys.get(connector, account, self.clock.now + _HOUR)

    async def left(self) -> Left:
        return await self._of.now()


@pytest_asyncio.fixture
async def scene() -> AsyncIterator[Scene]:
    """Nothing is registered."""
    scene = Scene()
    yield scene
    await scene.keys.close()


async def test_nothing_is_known_before_a_connector_is(scene: Scene) -> None:
    """A new broker says of Vault what it knows, and of Entra nothing."""
    assert await scene.left() == Left(NOW + _HOUR, None, [], [], 0)


async def test_the_first_to_stop_comes_first(scene: Scene) -> None:
    """Of each account the key in memory counts, less the minute for which no token would be worth it."""
    scene.register(_ONE, _TWO, _IDLE, _BY_KEY)
    await scene.sign(_TWO, "acc")
    scene.clock.now += _HOUR
    await scene.sign(_ONE, "other")
    await scene.sign(_BY_KEY, "acc")
    left = await scene.left()
    assert list(left.accounts) == [
        AccountLeft("two", "acc", NOW + _DAY - _LAST, None),
        AccountLeft("one", "other", NOW + _HOUR + _DAY - _LAST, None),
    ]
    assert (left.without_key, left.lasting) == (["idle"], 1)


async def test_what_is_told_is_what_happens(scene: Scene) -> None:
    """With Azure away tokens are issued until that very second, and not for longer; then it says since when."""
    scene.register(_ONE)
    await scene.sign(_ONE, "acc")
    (told,) = (await scene.left()).accounts
    scene.cloud.fail("signing_key", Reason.CLOUD_UNAVAILABLE)
    scene.clock.now = told.until - 1
    await scene.sign(_ONE, "acc")
    failing = replace(told, failing_since=told.until - 1)
    assert list((await scene.left()).accounts) == [failing]
    scene.clock.now = told.until + _DAY
    with pytest.raises(BrokerError):
        await scene.sign(_ONE, "acc")
    assert list((await scene.left()).accounts) == [failing]
    scene.cloud.heal()
    scene.clock.now += _HOUR
    await scene.sign(_ONE, "acc")
    assert list((await scene.left()).accounts) == [AccountLeft("one", "acc", scene.clock.now + _DAY - _LAST, None)]


async def test_without_any_key_it_stopped_when_one_was_refused(scene: Scene) -> None:
    """A connector that never had a key is not "until 1970"."""
    scene.register(_ONE)
    scene.cloud.fail("signing_key", Reason.CLOUD_UNAVAILABLE)
    scene.clock.now += 5
    with pytest.raises(BrokerError):
        await scene.sign(_ONE, "acc")
    assert list((await scene.left()).accounts) == [AccountLeft("one", "acc", NOW + 5, NOW + 5)]


async def test_a_key_that_nobody_uses_has_not_stopped_anything(scene: Scene) -> None:
    """Keys are renewed for those who ask: one that ended unasked is none, and no alarm."""
    scene.register(_ONE)
    await scene.sign(_ONE, "acc")
    scene.clock.now += 2 * _DAY
    left = await scene.left()
    assert (left.accounts, left.without_key) == ([], ["one"])


async def test_what_was_refused_once_and_is_not_asked_for_stops_nothing(scene: Scene) -> None:
    """Protects the account that really stops first from an old failure, which would be told before it for ever."""
    scene.register(_ONE, _TWO)
    await scene.sign(_ONE, "acc")
    scene.cloud.fail("signing_key", Reason.CLOUD_PERMISSION_MISSING, times=1)
    with pytest.raises(BrokerError):
        await scene.sign(_TWO, "acc")
    scene.clock.now += 4  # A remembered error: the cloud is not asked, and somebody is refused all the same.
    with pytest.raises(BrokerError):
        await scene.sign(_TWO, "acc")
    scene.clock.now += 600
    assert [(each.connector, each.until) for each in (await scene.left()).accounts] == [
        ("two", NOW),
        ("one", NOW + _DAY - _LAST),
    ]
    scene.clock.now += 1
    left = await scene.left()
    assert ([each.connector for each in left.accounts], left.without_key) == (["one"], ["two"])


async def test_all_of_an_answer_is_of_one_moment(scene: Scene) -> None:
    """A connector that comes while the keys are looked through is in none of the numbers."""
    scene.register(_ONE, _BY_KEY)
    await scene.sign(_ONE, "acc")
    told = scene.keys.in_memory

    def joined(connectors: Iterable[Connector]) -> Iterator[KeyInMemory]:
        yield from told(connectors)
        scene.register(_TWO)

    scene.keys.in_memory = joined  # type: ignore[method-assign]
    left = await scene.left()
    assert (left.without_key, left.lasting) == ([], 1)


async def test_connectors_that_are_gone_are_not_told_of(scene: Scene) -> None:
    """A key may outlive its connector for a moment, and a connector's name may be another's now."""
    scene.register(_ONE)
    await scene.sign(_ONE, "acc")
    scene.memory.connectors.clear()
    scene.register(make_connector("one"))
    left = await scene.left()
    assert (left.accounts, left.without_key) == ([], ["one"])


async def test_vault_that_is_away_already(scene: Scene) -> None:
    """What is left shrinks from its last answer on."""
    scene.vault.left, scene.vault.away = 0.0, 2 * _HOUR
    left = await scene.left()
    assert (left.without_vault_until, left.vault_away_since) == (NOW, NOW - 2 * _HOUR)
