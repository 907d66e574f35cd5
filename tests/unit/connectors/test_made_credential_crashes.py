"""A process that dies at any write, or at any call to Azure, while a credential is made: nothing is left there."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from support.core import CLIENT, PLANTED
from support.crashes import DyingStore, check_whole
from support.doomed_process import died_amid
from support.fake_ledger import FakeLedger
from support.fake_maker import FakeMaker
from support.fake_store import FakeStateStore
from support.rotating_replica import NAME, RotatingReplica, by_account_key, the_call
from valetkey_broker.adapters.azure.auth_methods.account_key import AccountKey
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.connectors.made_credential_rotations import Automatic
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import RotationState, Secret

BY_KEY = "by-key"
_MOST_WRITES = 22
# Before each: what was done at Azure since the one before is not on record then. After each, and before a call to
# Azure, is the same to who goes on.
_BOUNDARIES = [(f"write {number}", False) for number in range(_MOST_WRITES)]
_CALLS = ("passwords", "add_password", "remove_password", "account_keys", "regenerate_key")
_AT_AZURE = [(call, effect) for call in _CALLS for effect in (False, True)]


class DyingMaker:
    """Hands calls on to `inner`; once `armed`, it dies at the first of one kind, before it or after its `effect`."""

    def __init__(self, inner: FakeMaker, call: str, dead: asyncio.Event, *, effect: bool) -> None:
        self._inner = inner
        self._call = call
        self._dead = dead
        self._effect = effect
        self.armed = False

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            if name != self._call or not self.armed:
                return await getattr(self._inner, name)(*arguments)
            if self._effect:
                await getattr(self._inner, name)(*arguments)
            self._dead.set()
            await asyncio.Event().wait()
            raise AssertionError

        return call


class Scene:
    """What outlives processes: Vault, the ledger, Azure."""

    def __init__(self) -> None:
        self.store, self.ledger = FakeStateStore(), FakeLedger()
        self.maker = FakeMaker(CLIENT, Secret(PLANTED), ["one"])

    def replica(self, store: Any = None, maker: Any = None) -> RotatingReplica:
        """Returns a process, as it is when it has read everything."""
        replica = RotatingReplica(store or self.store, ledger=self.ledger, maker=maker or self.maker)
        replica.cloud.secrets = None
        return replica

    async def rotated(self, world: RotatingReplica, name: str) -> RotationState:
        """Rotates by the rights of the service principal, and returns how it ended."""
        await world.replica.repository.load()
        by = "" if name == NAME else NAME
        await world.automatic.rotate(f"connectors/{name}", Automatic(by=by), the_call())
        return (await world.ended(f"connectors/{name}")).state

    async def begun(self, name: str) -> None:
        """Registers what is rotated; of a service principal, with a secret that the broker made before."""
        world = self.replica()
        await world.register()
        if name == NAME:
            assert await self.rotated(world, NAME) is RotationState.DONE
            return
        new = by_account_key(name, "one", self.maker.keys["one"]["key1"])
        await world.connector_admin.create(new, created_by="key:ops")
        self.maker.calls.clear()

    async def die(self, where: str, name: str, *, effect: bool) -> bool:
        """Rotates in a process that dies; returns False where it was through before."""
        before, at = asyncio.all_tasks(), where.removeprefix("write ")
        if at.isdecimal():
            dying = DyingStore(self.store, int(at), effect=effect)
            dead, doomed = dying.dead, self.replica(dying)
        else:
            dead = asyncio.Event()
            maker = DyingMaker(self.maker, at, dead, effect=effect)
            doomed = self.replica(maker=maker)
            await doomed.replica.repository.load()
        working = asyncio.ensure_future(self.rotated(doomed, name))
        if not at.isdecimal():
            # Once it has begun: what is asked beforehand leaves nothing.
            async with asyncio.timeout(60):
                while not doomed.memory.rotations.get(f"rotations/{name}"):  # noqa: ASYNC110
                    await asyncio.sleep(0)
            maker.armed = True
        return await died_amid(working, dead, before)

    async def gone_on_with(self, name: str) -> RotatingReplica:
        """Returns another process once it has brought the rotation to its end, begun anew where it never was."""
        world = self.replica()
        await world.replica.repository.load()
        await world.poll()
        path, version = f"connectors/{name}", 2 if name == NAME else 1
        state = None
        with contextlib.suppress(BrokerError):
            state = (await world.ended(path)).state
        if world.memory.connectors[name].credential_version == version:
            state = await self.rotated(world, name)
        assert state is RotationState.DONE
        await world.poll()
        await check_whole(world.replica.store)
        return world


@pytest.mark.parametrize(("where", "effect"), [*_BOUNDARIES, *_AT_AZURE[:6]])
async def test_one_secret_of_ours_is_left_and_it_is_the_one_in_use(where: str, *, effect: bool) -> None:
    """Whatever was made, and whoever forgot it; the operator's own is still there."""
    scene = Scene()
    await scene.begun(NAME)
    died = await scene.die(where, NAME, effect=effect)
    assert died or where.startswith("write")
    world = await scene.gone_on_with(NAME)
    (by_hand, ours) = scene.maker.made.values()
    assert by_hand == ("by hand", Secret(PLANTED))
    assert await world.in_use() == ClientSecret(ours[1])


@pytest.mark.parametrize(("where", "effect"), [*_BOUNDARIES, *_AT_AZURE[6:]])
async def test_the_old_key_is_regenerated_once_and_the_other_is_in_use(where: str, *, effect: bool) -> None:
    """What is in use always is one of the account's keys."""
    scene = Scene()
    await scene.begun(BY_KEY)
    before = dict(scene.maker.keys["one"])
    died = await scene.die(where, BY_KEY, effect=effect)
    assert died or where.startswith("write")
    world = await scene.gone_on_with(BY_KEY)
    assert await world.in_use(BY_KEY) == AccountKey(before["key2"])
    assert scene.maker.keys["one"]["key1"] != before["key1"]
    assert scene.maker.keys["one"]["key2"] == before["key2"]
    assert scene.maker.calls["regenerate_key"] == 1


async def test_every_boundary_is_in_the_matrix() -> None:
    """A rotation of more writes than the matrix knows would be crashed in its first ones only."""
    for name in (NAME, BY_KEY):
        scene = Scene()
        await scene.begun(name)
        assert not await scene.die(f"write {_MOST_WRITES}", name, effect=True)
