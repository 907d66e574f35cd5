"""A process that dies at any write, record or call to Azure of a hard revocation: another one ends the leak."""

import asyncio
from typing import Any

import pytest

from support.crashes import DyingStore, check_whole
from support.doomed_process import died_amid
from support.revoking_replica import BY_KEY, World
from support.rotating_replica import NAME
from valetkey_broker.adapters.azure.auth_methods.account_key import AccountKey
from valetkey_broker.model import EventFilter, EventKind
from valetkey_broker.model.revocation import LeaseState, RevocationState
from valetkey_broker.recording import MissingOutcomes

_MOST_WRITES = 40
_BOUNDARIES = [("write", number, effect) for number in range(_MOST_WRITES) for effect in (False, True)]
_RECORDS = [("record", number, effect) for number in range(12) for effect in (False, True)]
_CALLS = [*(("account_keys", number) for number in range(5)), ("regenerate_key", 0)]
_AT_AZURE = [(*call, effect) for call in _CALLS for effect in (False, True)]
_ORDERS = [("revoke_delegation_keys", 0, effect) for effect in (False, True)]


class Dying:
    """Hands calls on to `inner`; it dies at one of them, before it or after its effect."""

    def __init__(self, inner: Any, call: str, number: int, dead: asyncio.Event, *, effect: bool) -> None:
        self._inner = inner
        self._call = call
        self._left = number
        self._dead = dead
        self._effect = effect

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def call(*arguments: Any, **named: Any) -> Any:
            if self._dead.is_set():
                await asyncio.Event().wait()
            if name != self._call:
                return await found(*arguments, **named)
            self._left -= 1
            if self._left >= 0:
                return await found(*arguments, **named)
            if self._effect:
                await found(*arguments, **named)
            self._dead.set()
            return await asyncio.Event().wait()

        return call


class Scene:
    """What outlives processes: Vault, the ledger, Azure; and a token that leaked."""

    def __init__(self, leaked_by: str) -> None:
        self.world = World()
        self.leaked_by = leaked_by
        self.cloud, self.maker = self.world.cloud, self.world.maker
        self.key = self.maker.keys["one"]["key1"]

    async def leak(self) -> str:
        """Returns the token."""
        await self.world.register()
        await self.world.with_key()
        return await self.world.issue(self.leaked_by)

    async def die(self, what: str, number: int, *, effect: bool) -> bool:
        """Revokes in a process that dies; returns whether it did, or was through before."""
        before, dead = asyncio.all_tasks(), asyncio.Event()
        own: dict[str, Any] = {}
        if what == "write":
            own["store"] = DyingStore(self.world.replica.store, number, effect=effect)
            dead = own["store"].dead
        elif what == "record":
            own["ledger"] = Dying(self.world.ledger, "record", number, dead, effect=effect)
        elif what != "revoke_delegation_keys":
            own["maker"] = Dying(self.maker, what, number, dead, effect=effect)
        doomed = World(beside=self.world, **own)
        if what == "revoke_delegation_keys":
            doomed.revoking.keys._orders._questions._cloud = Dying(self.cloud, what, number, dead, effect=effect)  # type: ignore[assignment]
        return await died_amid(asyncio.ensure_future(self._revoked(doomed)), dead, before)

    async def _revoked(self, world: World) -> None:
        await world.repository.load()
        if not world.memory.revocations:
            await world.revoke(through=NAME)
        await self.ended(world)

    async def ended(self, world: World) -> None:
        """Works on the revocation until it is over; storage acts on an order as soon as it is noted."""
        async with asyncio.timeout(60):
            while (made := world.made).state(world.clock(), made.covered_until) is not RevocationState.REVOKED:
                if (revoked_at := made.keys[0].revoked_at) and self.leaked_by == NAME:
                    self.cloud.revoke_keys(revoked_at)
                await world.revoking.keys.look(at_once=True)
                await world.poll()
                await asyncio.sleep(0.001)


async def _checked(scene: Scene, lease: str) -> World:
    world = World(beside=scene.world)
    await world.repository.load()
    await world.poll()
    if not world.memory.revocations:
        await world.revoke(through=NAME)  # It never was: the operator was told nothing, and tries again.
    await scene.ended(world)
    await world.poll()
    assert world.state(lease) is LeaseState.REVOKED
    await check_whole(world.replica.store)
    under_way = world.repository.being_changed
    await MissingOutcomes(world.ledger, world.clock, under_way, watched_seconds=0.0).look()
    unfinished = await world.ledger.events(EventFilter(unfinished=True, kind=EventKind.CHANGE_BEGUN))
    assert [stored.event.object for stored in unfinished] == []
    return world


@pytest.mark.parametrize(("what", "number", "effect"), [*_BOUNDARIES, *_RECORDS, *_AT_AZURE])
async def test_an_accounts_key_is_made_anew_once_and_what_is_in_use_works(
    what: str, number: int, *, effect: bool
) -> None:
    """Whoever goes on finds in Vault what is to be done, and at Azure what was."""
    scene = Scene(BY_KEY)
    lease = await scene.leak()
    other = scene.maker.keys["one"]["key2"]
    died = await scene.die(what, number, effect=effect)
    assert died or what in ("write", "record")
    world = await _checked(scene, lease)
    assert scene.key not in scene.maker.keys["one"].values()
    assert await world.in_use(BY_KEY) == AccountKey(other)
    assert scene.maker.calls["regenerate_key"] == 1


@pytest.mark.parametrize(("what", "number", "effect"), [*_BOUNDARIES[:32], *_RECORDS[:12], *_ORDERS])
async def test_user_delegation_keys_are_revoked_and_that_is_on_record(what: str, number: int, *, effect: bool) -> None:
    """Where a process died after Azure's answer, and before it was noted, the order is given once more at most."""
    scene = Scene(NAME)
    lease = await scene.leak()
    died = await scene.die(what, number, effect=effect)
    assert died or what in ("write", "record")
    world = await _checked(scene, lease)
    assert 1 <= len(scene.cloud.ordered) <= 2
    hit = await world.events(EventKind.KEYS_REVOKED)
    assert 1 <= len(hit) <= len(scene.cloud.ordered)


@pytest.mark.parametrize("number", range(_MOST_WRITES))
async def test_who_goes_on_may_die_too(number: int) -> None:
    """The first died with the rotation begun, and nothing more; the third brings to its end what the second left."""
    scene = Scene(BY_KEY)
    lease = await scene.leak()
    other = scene.maker.keys["one"]["key2"]
    assert await scene.die("write", 9, effect=True)
    begun = await scene.world.replica.store.read(f"rotations/{BY_KEY}")
    assert begun is not None
    assert begun.data["state"] == "obtaining"
    await scene.die("write", number, effect=bool(number % 2))
    world = await _checked(scene, lease)
    assert await world.in_use(BY_KEY) == AccountKey(other)
    assert scene.maker.calls["regenerate_key"] == 1


async def test_every_boundary_is_in_the_matrix() -> None:
    """A revocation of more writes or records than the matrix knows would be crashed in its first ones only."""
    for leaked_by, writes, records in ((BY_KEY, _MOST_WRITES, 12), (NAME, 16, 6)):
        for what, most in (("write", writes), ("record", records)):
            scene = Scene(leaked_by)
            await scene.leak()
            assert not await scene.die(what, most, effect=True)
