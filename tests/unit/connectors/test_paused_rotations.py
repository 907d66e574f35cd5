"""A process that is stopped anywhere amid a rotation, taken for dead, and goes on when others are through with it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from support.core import CLIENT, PLANTED, PROFILE, make_secret, make_sharing_connector
from support.crashes import check_whole
from support.fake_cloud import FakeCloud
from support.fake_ledger import FakeLedger
from support.fake_maker import FakeMaker
from support.fake_store import FakeStateStore
from support.paused_process import PausingStore
from support.rotating_replica import NAME, NEW, PATH, RotatingReplica, by_account_key, the_call
from support.waiting import eventually
from valetkey_broker.adapters.azure.auth_methods.account_key import AccountKey
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.connectors.made_credential_rotations import Automatic
from valetkey_broker.connectors.rotation_admin import Wanted
from valetkey_broker.model import RotationState, Secret

BY_KEY = "by-key"
# So many calls it makes at most once a rotation has begun; a test says so if there are more.
_MOST_CALLS = 44
_EVERYWHERE = pytest.mark.parametrize("at", range(_MOST_CALLS))
Begin = Callable[[RotatingReplica], Awaitable[object]]


class PausingMaker:
    """Stops with the process before it asks Azure, but for regenerating: what is on its way there nobody calls back."""

    def __init__(self, inner: FakeMaker, store: PausingStore) -> None:
        self._inner = inner
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            if name != "regenerate_key":
                await self._store.pause()
            return await getattr(self._inner, name)(*arguments)

        return call


class Paused:
    """One process that stops, and others; Vault, the ledger and Azure are theirs together."""

    def __init__(self, at: int) -> None:
        self.store, self.ledger = FakeStateStore(), FakeLedger()
        self.maker = FakeMaker(CLIENT, Secret(PLANTED), ["one"])
        self.pausing = PausingStore(self.store, -1)
        self.at = at

    def process(self, *, accepts: list[str] | None = None, paused: bool = False) -> RotatingReplica:
        """Returns a process; its cloud takes the secrets of `accepts`, or all that the maker has."""
        cloud = FakeCloud({"one": ["demo", "models"], "two": ["demo"]}, profile=PROFILE)
        cloud.secrets = set(accepts) if accepts is not None else None
        maker: Any = PausingMaker(self.maker, self.pausing) if paused else self.maker
        return RotatingReplica(self.pausing if paused else self.store, cloud, self.ledger, maker=maker)

    async def stopped(self, begin: Begin) -> RotatingReplica:
        """Returns a process once it is stopped amid the rotation that it began, or is through with it."""
        slow = self.process(paused=True)
        await slow.repository.load()
        await slow.repository.credentials_read()
        await begin(slow)
        self.pausing._left = self.at
        await eventually(lambda: self.pausing.reached.is_set() or not slow.rotating.runner._own)
        return slow

    async def gone_on_with(self, of: str, *, accepts: list[str] | None = None) -> tuple[RotatingReplica, RotationState]:
        """Returns another process when it has brought the rotation to its end; what was switched to is good for it."""
        others = self.process(accepts=accepts)
        await others.repository.load()
        async with asyncio.timeout(60):
            while not (state := (await others.rotating.rotations.get(of)).state).ended:
                if state.waits_for_leases:
                    others.cloud.secrets = None
                await others.poll()
                await asyncio.sleep(0.005)
        others.cloud.secrets = None
        return others, state

    async def awake(self, slow: RotatingReplica) -> None:
        """Lets the process go on, until it has nothing to do any more."""
        self.pausing._left = -1
        self.pausing.go_on.set()
        await eventually(lambda: all(own.task is None for own in slow.rotating.runner._own.values()))
        await slow.repository.close()
        await check_whole(self.store)


async def _given(world: RotatingReplica, of: str = PATH) -> None:
    await world.begin(Wanted(secrets={"client_secret": Secret(NEW)}, prove_seconds=0), of=of)


async def _given_to_a_secret(world: RotatingReplica) -> None:
    await _given(world, "secrets/az_secret")


async def _made(world: RotatingReplica) -> None:
    await world.automatic.rotate(PATH, Automatic(prove_seconds=0), the_call())


async def _other_key(world: RotatingReplica) -> None:
    await world.automatic.rotate(f"connectors/{BY_KEY}", Automatic(by=NAME, prove_seconds=0), the_call())


async def _of_a_connector(world: RotatingReplica) -> None:
    await world.register()


async def _of_a_secret(world: RotatingReplica) -> None:
    secret = await world.repository.create_secret(make_secret(), ClientSecret(Secret(PLANTED)))
    await world.repository.create_sharing_connector(make_sharing_connector(secret, NAME))


@pytest.mark.parametrize(
    ("prepare", "of"), [(_of_a_connector, PATH), (_of_a_secret, "secrets/az_secret")], ids=["connector", "secret"]
)
@_EVERYWHERE
async def test_what_others_took_back_is_not_switched_to_any_more(prepare: Begin, of: str, at: int) -> None:
    """Others were refused the new credential, and said that the old one stays: so it does."""
    scene = Paused(at)
    await prepare(scene.process())
    slow = await scene.stopped(lambda world: _given(world, of))
    others, state = await scene.gone_on_with(of, accepts=[PLANTED])
    await scene.awake(slow)
    in_use = {RotationState.DONE: NEW, RotationState.FAILED: PLANTED}[state]
    assert await others.in_use() == ClientSecret(Secret(in_use))


@pytest.mark.parametrize("accepts", [[PLANTED], None], ids=["taken-back", "done"])
@_EVERYWHERE
async def test_no_secret_comes_into_use_that_others_removed_nor_is_one_in_use_removed(
    at: int, accepts: list[str] | None
) -> None:
    """They took the rotation back, and with it the secret that it had made; or are through with the next one, too."""
    scene = Paused(at)
    await scene.process().register()
    slow = await scene.stopped(_made)
    others, state = await scene.gone_on_with(PATH, accepts=accepts)
    if state is RotationState.DONE:
        await _made(others)
        assert (await others.ended(PATH)).state is RotationState.DONE
    await scene.awake(slow)
    value = await others.in_use()
    assert isinstance(value, ClientSecret)
    assert value.client_secret in [secret for _, secret in scene.maker.made.values()]


@pytest.mark.parametrize("ends_as", [RotationState.FAILED, RotationState.DONE])
@_EVERYWHERE
async def test_no_key_comes_into_use_that_others_regenerated_nor_is_one_in_use_regenerated(
    at: int, ends_as: RotationState
) -> None:
    """Others brought the rotation to an end, and made anew what was not in use any more; then the process goes on."""
    scene = Paused(at)
    world = scene.process()
    await world.register()
    keys = scene.maker.keys["one"]
    await world.connector_admin.create(by_account_key(BY_KEY, "one", keys["key1"]), created_by="key:ops")
    slow = await scene.stopped(_other_key)
    accepts = [PLANTED, keys["key1"].reveal()] if ends_as is RotationState.FAILED else None
    others, state = await scene.gone_on_with(f"connectors/{BY_KEY}", accepts=accepts)
    if state is RotationState.DONE:
        await _other_key(others)
        assert (await others.ended(f"connectors/{BY_KEY}")).state is RotationState.DONE
    else:
        (by, credential) = await others.rotating.objects.itself(others.memory.connectors[NAME])
        await scene.maker.regenerate_key(by, credential, "one", "key2")
    await scene.awake(slow)
    value = await others.in_use(BY_KEY)
    assert isinstance(value, AccountKey)
    assert value.account_key in scene.maker.keys["one"].values()


@_EVERYWHERE
async def test_no_credential_is_left_in_vault_by_who_was_late(at: int) -> None:
    """It was made before others took the rotation back, and would be stored when nobody looks for it any more."""
    scene = Paused(at)
    await scene.process().register()
    slow = await scene.stopped(_made)
    others = scene.process()
    await others.repository.load()
    if (await others.rotating.rotations.get(PATH)).state.can_be_aborted:
        await others.rotating.rotations.abort(PATH, "key:ops")
    await others.ended(PATH)
    await scene.awake(slow)
    value = await others.in_use()
    assert isinstance(value, ClientSecret)
    assert value.client_secret in [secret for _, secret in scene.maker.made.values()]


async def test_every_call_is_in_the_matrix() -> None:
    """A rotation of more calls than the matrix knows would be stopped in its first ones only."""
    for begin in (_given, _made, _other_key, _given_to_a_secret):
        scene = Paused(_MOST_CALLS)
        world = scene.process()
        await (_of_a_secret if begin is _given_to_a_secret else _of_a_connector)(world)
        key = scene.maker.keys["one"]["key1"]
        await world.connector_admin.create(by_account_key(BY_KEY, "one", key), created_by="key:ops")
        await scene.stopped(begin)
        assert not scene.pausing.reached.is_set()
