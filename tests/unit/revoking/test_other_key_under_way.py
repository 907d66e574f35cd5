"""A hard revocation whose account has its other key in the hands of another rotation: it does not wait for leases."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from support.revoking_replica import BY_KEY, OTHER, TRAINER, World
from support.rotating_replica import NAME, the_call
from valetkey_broker.adapters.azure.auth_methods.account_key import AccountKey
from valetkey_broker.connectors.made_credential_rotations import Automatic
from valetkey_broker.model import CredentialOrigin, EventKind, Rotation, RotationState
from valetkey_broker.model.revocation import LeaseState, RevocationState

_ROTATION = f"rotations/{OTHER}"


@pytest.fixture
async def world() -> World:
    """The leak is of key1; another connector has key2 in use, with tokens out, and is being rotated to key1."""
    world = World()
    await world.register()
    await world.with_key()
    await world.with_key(OTHER, "key2")
    return world


async def _proving(world: World, *, at_once: bool = False) -> None:
    """Has the other connector's rotation try key1, which storage does not accept for now."""
    assert world.cloud.secrets is not None
    world.cloud.secrets.discard(world.maker.keys["one"]["key1"].reveal())
    wanted = Automatic(by=NAME, at_once=at_once)
    await world.automatic.rotate(f"connectors/{OTHER}", wanted, the_call())
    await _until(world, lambda: bool(world.memory.rotations[_ROTATION].tries))


async def _until(world: World, condition: object) -> None:
    async with asyncio.timeout(60):
        while not condition():  # type: ignore[operator]
            await world.poll()
            await asyncio.sleep(0.005)


async def test_one_that_only_proves_is_taken_back_and_none_of_its_leases_ends(world: World) -> None:
    """Else the leak would live on until the last token of a connector has ended that nobody wants anything of."""
    leak, innocent = await world.issue(), await world.issue(OTHER, "key:other")
    keys = dict(world.maker.keys["one"])
    await _proving(world)
    await world.revoke()
    await world.until(RevocationState.REVOKED)
    rotation = await world.rotating.rotations.get(f"connectors/{OTHER}")
    assert rotation.state is RotationState.ABORTED
    assert rotation.message == "aborted by key:ops, for the key is needed by the hard revocation r-1"
    assert (world.state(leak), world.state(innocent)) == (LeaseState.REVOKED, LeaseState.LIVE)
    assert world.maker.keys["one"]["key2"] == keys["key2"]
    assert world.maker.keys["one"]["key1"] != keys["key1"]
    assert await world.in_use(OTHER) == await world.in_use(BY_KEY) == AccountKey(keys["key2"])
    changes = [each for each in await world.events(EventKind.ADMIN_CHANGE) if each.object == _ROTATION]
    assert [each.details.get("revocation") for each in changes] == ["r-1"]


async def test_one_that_came_to_wait_meanwhile_waits_no_more(world: World) -> None:
    """It has the leaked key by now, and its own leases would keep the other one from being had."""
    leak = await world.issue()
    await world.issue(OTHER, "key:other")
    key = world.maker.keys["one"]["key1"]
    await _proving(world)
    await world.revoke()
    assert world.cloud.secrets is not None
    world.cloud.secrets.add(key.reveal())
    await _until(world, lambda: world.memory.rotations[_ROTATION].state is RotationState.WAITING)
    await world.revoking.keys.look(at_once=True)
    world.clock.now += 16  # What replicas need; the leases of ten minutes live on.
    await world.until(RevocationState.REVOKED)
    assert world.state(leak) is LeaseState.REVOKED
    assert key not in world.maker.keys["one"].values()
    assert {each.rotates for each in world.made.keys} == {f"connectors/{BY_KEY}", f"connectors/{OTHER}"}


async def test_how_far_another_replica_has_brought_a_rotation_is_looked_up(world: World) -> None:
    """A key that it is about to have made anew is not taken for one that nobody has: nothing stands in the way."""
    other = World(beside=world)
    await world.issue(OTHER)
    await _proving(world)
    await other.repository.refresh()
    assert other.memory.rotations[_ROTATION].state is RotationState.PROVING
    assert world.cloud.secrets is not None
    world.cloud.secrets.add(world.maker.keys["one"]["key1"].reveal())
    await _until(world, lambda: world.memory.rotations[_ROTATION].state is RotationState.WAITING)
    (signer,) = (await other.revoking.revoker.preview(TRAINER, NAME)).hit.signers
    assert signer.obstacle == ""


async def test_one_that_waits_for_nothing_is_left_alone(world: World) -> None:
    """It may be what ends a leak of the other key; it goes first, and is over in a moment."""
    leak = await world.issue()
    keys = dict(world.maker.keys["one"])
    await _proving(world, at_once=True)
    await world.revoke()
    await world.revoking.keys.look(at_once=True)
    assert world.memory.rotations[_ROTATION].state is RotationState.PROVING
    assert world.cloud.secrets is not None
    world.cloud.secrets.add(keys["key1"].reveal())
    await world.until(RevocationState.REVOKED)
    assert world.memory.rotations[_ROTATION].state is RotationState.DONE
    assert world.state(leak) is LeaseState.REVOKED
    assert not set(keys.values()) & set(world.maker.keys["one"].values())


async def test_one_whose_switch_was_made_though_it_was_taken_back_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the two would else have the key in use that the other has to make anew, and both wait for ever."""
    leak, keys = await world.issue(), dict(world.maker.keys["one"])
    await world.issue(OTHER, "key:other")
    await _proving(world)
    decided, go_on = world.repository.rotations.decided, asyncio.Event()

    async def held(rotation: Rotation) -> None:
        if rotation.path == _ROTATION:
            await go_on.wait()
        await decided(rotation)

    monkeypatch.setattr(world.repository.rotations, "decided", held)
    await world.revoke()
    await _work_until(world, lambda: _is_held_up_or_switched(world))
    undoing = world.memory.rotations[_ROTATION]
    assert undoing.state is RotationState.UNDOING
    # What Vault had not answered, when it was looked whether the switch was made.
    origin = CredentialOrigin(undoing.started_at, undoing.started_by, undoing.id)
    switched = replace(world.memory.connectors[OTHER], origin=origin)
    await world.repository.update_connector(switched, AccountKey(keys["key1"]))
    go_on.set()
    assert world.cloud.secrets is not None
    world.cloud.secrets.add(keys["key1"].reveal())
    await _work_until(world, lambda: world.memory.rotations[_ROTATION].state is RotationState.WAITING)
    await world.revoking.keys.look(at_once=True)
    world.clock.now += 16  # What replicas need.
    await world.until(RevocationState.REVOKED)
    assert world.state(leak) is LeaseState.REVOKED
    assert not set(keys.values()) & set(world.maker.keys["one"].values())


def _is_held_up_or_switched(world: World) -> bool:
    rotation = world.memory.rotations.get(f"rotations/{BY_KEY}")
    return rotation is not None and (bool(rotation.message) or not rotation.state.can_be_aborted)


async def _work_until(world: World, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await world.revoking.keys.look(at_once=True)
            await world.poll()
            await asyncio.sleep(0.005)
