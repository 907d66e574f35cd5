"""Credentials that the broker has made: what Entra and Azure do in between, and what is left there afterwards."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from support.core import CLIENT, NOW, PLANTED, make_secret, make_sharing_connector
from support.fake_ledger import ledger_down
from support.fake_maker import FakeMaker
from support.fake_store import FakeStateStore
from support.rotating_replica import NAME, PATH, RotatingReplica, by_account_key, the_call
from support.waiting import eventually
from valetkey_broker.adapters.azure.auth_methods.account_key import AccountKey
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.connectors.made_credential_rotations import Automatic
from valetkey_broker.errors import BrokerError, Reason, vault_unavailable
from valetkey_broker.model import (
    AzureConfig,
    Connector,
    Credential,
    CredentialOrigin,
    Event,
    EventKind,
    InvalidFieldError,
    Rotation,
    RotationState,
    Secret,
)
from valetkey_broker.ports import Document

BY_KEY, OTHER_KEY = "by-key", "other-key"


class World(RotatingReplica):
    """A replica whose provider makes what its cloud takes."""

    def __init__(self, store: FakeStateStore | None = None) -> None:
        self.maker = FakeMaker(CLIENT, Secret(PLANTED), ["one"])
        super().__init__(store, maker=self.maker)
        self.cloud.secrets = {PLANTED, *(key.reveal() for key in self.maker.keys["one"].values())}
        self.maker.on_made = self._made
        self.maker.on_removed = lambda value: self.cloud.secrets.discard(value.reveal())  # type: ignore[union-attr]
        self.slow_entra = False

    def _made(self, value: Secret) -> None:
        if not self.slow_entra and self.cloud.secrets is not None:
            self.cloud.secrets.add(value.reveal())

    async def rotate(self, name: str = NAME, *, prove: int = 5, **wanted: object) -> Rotation:
        automatic = Automatic(prove_seconds=prove, **wanted)  # type: ignore[arg-type]
        return await self.automatic.rotate(f"connectors/{name}", automatic, the_call())

    async def done(self, name: str = NAME) -> Rotation:
        ended = await self.ended(f"connectors/{name}")
        assert ended.state is RotationState.DONE, ended
        return ended

    async def first_done(self, *names: str) -> str:
        """Returns which of these connectors' rotations is done first."""
        async with asyncio.timeout(60):
            while not (done := [name for name in names if await self.state(name) is RotationState.DONE]):
                await self.poll()
                await asyncio.sleep(0.005)
        return done[0]

    async def with_key(self, name: str = BY_KEY, key: str = "key1") -> None:
        new = by_account_key(name, "one", self.maker.keys["one"][key])
        await self.connector_admin.create(new, created_by="key:ops")

    async def key_in_use(self, name: str = BY_KEY) -> Secret:
        value = await self.in_use(name)
        assert isinstance(value, AccountKey)
        return value.account_key

    def lease(self, name: str, version: int, expires: float) -> Event:
        return Event(
            kind=EventKind.TOKEN_ISSUED,
            time=NOW,
            connector=name,
            credential_version=version,
            expires=int(expires),
            lease_id="lease",
        )

    def at_once(self) -> None:
        """Lets the next look take up what failed before, without a pause."""
        for own in self.rotating.runner._own.values():
            own.again_at = 0.0

    def rests(self) -> bool:
        """Tells whether nothing is being worked on."""
        return all(own.task is None for own in self.rotating.runner._own.values())

    def before(self, word: str, do: Callable[[], None]) -> None:
        """Does something, once, just before what has that word is put on record."""

        def look(event: Event) -> None:
            if word in str(event.details):
                self.ledger.before_record = lambda _event: None
                do()

        self.ledger.before_record = look

    async def state(self, name: str = NAME) -> RotationState:
        return (await self.rotating.rotations.get(f"connectors/{name}")).state

    async def until(self, state: RotationState, name: str = NAME) -> None:
        async with asyncio.timeout(60):
            while await self.state(name) is not state:
                await self.poll()
                await asyncio.sleep(0.005)


@pytest.fixture
async def world() -> World:
    world = World()
    await world.register()
    return world


async def test_a_secret_is_made_and_the_next_one_replaces_it(world: World) -> None:
    """The operator's own stays and is told of as valid; the broker's own goes with the next rotation, and no other."""
    world.maker.made["foreign"] = ("of somebody else", Secret("xyz~foreign"))
    await world.rotate()
    first = await world.done()
    assert world.maker.names() == ["by hand", "of somebody else", f"valetkey {first.object_uid} {first.id}"]
    assert f"az ad app credential delete --id {CLIENT} --key-id by-hand" in first.message
    await world.rotate()
    second = await world.done()
    assert second.message == ""
    assert world.maker.names() == ["by hand", "of somebody else", f"valetkey {second.object_uid} {second.id}"]
    value = await world.in_use()
    assert value == ClientSecret(world.maker.made[second.notes["key_id"]][1])
    connector = world.memory.connectors[NAME]
    assert connector.expires_at is not None
    assert 179 < (connector.expires_at.timestamp() - NOW) / 86_400 < 181


async def test_what_is_done_in_entra_is_on_record_and_no_secret_is(world: World) -> None:
    """Each secret that is made or removed is named by its id."""
    await world.rotate()
    first = await world.done()
    await world.rotate()
    second = await world.done()
    told = [event.details.get("what", "") for event in world.ledger.of(EventKind.ROTATION)]
    old, new = first.notes["key_id"], second.notes["key_id"]
    assert [what for what in told if what] == [f"made secret {old}", f"made secret {new}", f"removing secret {old}"]
    assert not re.search("secret-made-by-the-fake", str(world.ledger.recorded) + str(second))


@pytest.mark.parametrize("hidden", [False, True])
async def test_a_lost_answer_leaves_no_secret_behind(world: World, hidden: bool) -> None:
    """The secret was made, and nobody knows its value: it is removed, at the latest once Graph lists it."""
    world.maker.new_ones_hidden = hidden
    world.maker.fail("add_password", Reason.CLOUD_UNAVAILABLE, times=1, done=True)
    known = world.maker.on_made

    def made(value: Secret) -> None:
        known(value)
        if world.maker.calls["add_password"] == 2:  # Before the rotation can end, however busy the machine is.
            world.maker.hidden.clear()

    world.maker.on_made = made
    await world.rotate()
    ended = await world.done()
    assert world.maker.calls["add_password"] == 2
    assert list(world.maker.made) == ["by-hand", ended.notes["key_id"]]


async def test_a_rotation_that_fails_leaves_nothing(world: World) -> None:
    """A secret that never works is removed again, and the old one stays in use."""
    world.slow_entra = True
    await world.rotate(prove=0)
    ended = await world.ended()
    assert (ended.state, ended.reason) == (RotationState.FAILED, "CLOUD_CREDENTIAL_REJECTED")
    assert list(world.maker.made) == ["by-hand"]
    assert await world.in_use() == ClientSecret(Secret(PLANTED))


async def test_an_aborted_one_leaves_nothing(world: World) -> None:
    """The same where an operator stops it."""
    world.slow_entra = True
    await world.rotate()
    await world.until(RotationState.PROVING)
    await world.rotating.rotations.abort(PATH, "key:ops")
    assert (await world.ended()).state is RotationState.ABORTED
    assert list(world.maker.made) == ["by-hand"]


@pytest.mark.parametrize("aborted", [False, True])
async def test_a_deleted_connector_ends_it(world: World, *, aborted: bool) -> None:
    """Whom to ask by is gone with it: what its provider made is left, said so, and no later one is kept waiting."""
    world.slow_entra = True
    await world.rotate()
    await world.until(RotationState.PROVING)
    world.maker.fail("passwords", Reason.CLOUD_UNAVAILABLE, times=1_000)
    if aborted:
        await world.rotating.rotations.abort(PATH, "key:ops")
    await world.connector_admin.delete(NAME, deleted_by="key:ops")
    ended = await world.ended()
    assert ended.state is (RotationState.ABORTED if aborted else RotationState.FAILED)
    assert "is left there" in ended.message
    assert await world.replica.store.read(ended.candidate_path, ended.candidate) is None


async def test_the_next_of_its_name_does_not_wait(world: World) -> None:
    """A rotation that waits for the leases of a connector that is gone is nobody's."""
    await world.with_key()
    await world.ledger.record(world.lease(BY_KEY, 1, NOW + 900))
    await world.rotate(BY_KEY, by=NAME)
    await world.until(RotationState.WAITING, BY_KEY)
    waiting = await world.rotating.rotations.get(f"connectors/{BY_KEY}")
    await world.connector_admin.delete(BY_KEY, deleted_by="key:ops")
    await world.with_key(key="key2")
    rotations = world.rotating.rotations
    for asked in (rotations.get(f"connectors/{BY_KEY}"), rotations.abort(f"connectors/{BY_KEY}", "key:ops")):
        with pytest.raises(BrokerError) as caught:
            await asked
        assert caught.value.reason is Reason.ROTATION_NOT_FOUND
    begun = await world.rotate(BY_KEY, by=NAME)
    assert begun.object_uid != waiting.object_uid


async def test_forbidden_is_said_before_anything_begins(world: World) -> None:
    """Who asks learns what is missing at once; no rotation is under way."""
    world.maker.fail("passwords", Reason.CLOUD_PERMISSION_MISSING)
    with pytest.raises(BrokerError) as caught:
        await world.rotate()
    assert caught.value.reason is Reason.CLOUD_PERMISSION_MISSING
    assert world.memory.rotation_of(PATH, world.connector_admin.get(NAME).uid) is None


async def test_a_refused_secret_is_not_looked_for_for_ever(world: World) -> None:
    """What was refused was not made: a right that went meanwhile does not keep the rotation from its end."""
    world.maker.fail("add_password", Reason.CLOUD_PERMISSION_MISSING)
    await world.rotate(prove=0)
    await eventually(lambda: world.maker.calls["add_password"] == 1)
    world.maker.fail("passwords", Reason.CLOUD_PERMISSION_MISSING, times=1_000)
    ended = await world.ended()
    assert (ended.state, ended.reason) == (RotationState.FAILED, "CLOUD_PERMISSION_MISSING")


@pytest.mark.parametrize("reason", [Reason.CLOUD_THROTTLED, Reason.CLOUD_UNAVAILABLE])
@pytest.mark.parametrize("done", [False, True])
async def test_the_old_secret_goes_though_its_removal_stumbles(world: World, reason: Reason, done: bool) -> None:
    """429, or an answer that was lost: it is tried again, and one that is gone already is no error."""
    await world.rotate()
    await world.done()
    world.maker.fail("remove_password", reason, done=done)
    await world.rotate()
    ended = await world.done()
    assert list(world.maker.made) == ["by-hand", ended.notes["key_id"]]


async def test_nothing_is_removed_while_the_new_secret_does_not_work(world: World) -> None:
    """Never the last working one: the secret in use has to log in just before an older one goes."""
    await world.rotate()
    first = await world.done()
    new: list[str] = []

    def forget() -> None:
        new.append(list(world.maker.made.values())[-1][1].reveal())
        world.cloud.secrets.discard(new[0])  # type: ignore[union-attr]

    world.before("withdrawing", forget)
    await world.rotate()
    await eventually(lambda: bool(new))
    for _ in range(3):
        await world.poll()
        await asyncio.sleep(0.01)
    assert first.notes["key_id"] in world.maker.made
    world.cloud.secrets.add(new[0])  # type: ignore[union-attr]
    await world.done()
    assert first.notes["key_id"] not in world.maker.made


async def test_vault_sealed_before_the_old_secret_is_removed(world: World) -> None:
    """It stays until Vault is back; then it goes, and the rotation ends."""
    await world.rotate()
    first = await world.done()

    def seal() -> None:
        world.replica.store.fail_with = vault_unavailable("sealed", "sealed")

    world.before("withdrawing", seal)
    await world.rotate()
    await eventually(lambda: world.replica.store.fail_with is not None)
    await asyncio.sleep(0.05)
    assert first.notes["key_id"] in world.maker.made
    world.replica.store.fail_with = None
    await world.done()
    assert first.notes["key_id"] not in world.maker.made


async def test_nothing_is_made_off_the_record(world: World) -> None:
    """Without the ledger no secret is removed, and the rotation goes on once it is back."""
    await world.rotate()
    await world.done()

    def away() -> None:
        world.ledger.fail_with = ledger_down()
        raise world.ledger.fail_with

    world.before("removing", away)
    await world.rotate()
    await eventually(lambda: world.ledger.fail_with is not None)
    assert len(world.maker.made) == 3
    world.ledger.fail_with = None
    await world.done()
    assert len(world.maker.made) == 2


async def test_account_keys_take_turns(world: World) -> None:
    """To the other key; the old one is regenerated once the last lease that it signed has ended, and not before."""
    await world.with_key()
    before = dict(world.maker.keys["one"])
    await world.ledger.record(world.lease(BY_KEY, 1, NOW + 600))
    await world.rotate(BY_KEY, by=NAME)
    await world.until(RotationState.WAITING, BY_KEY)
    assert await world.key_in_use() == before["key2"]
    assert world.maker.keys["one"] == before
    world.clock.now = NOW + 590
    await world.poll()
    assert await world.state(BY_KEY) is RotationState.WAITING
    world.clock.now = NOW + 606
    await world.done(BY_KEY)
    assert world.maker.keys["one"]["key1"] != before["key1"]
    assert world.maker.keys["one"]["key2"] == before["key2"]
    await world.rotate(BY_KEY, by=NAME, at_once=True)
    await world.done(BY_KEY)
    assert await world.key_in_use() == world.maker.keys["one"]["key1"]
    assert world.maker.keys["one"]["key2"] != before["key2"]


async def test_the_old_key_lives_by_storages_clock(world: World) -> None:
    """A broker whose clock is 16 minutes ahead waits 16 minutes longer: storage ends tokens by its own."""
    await world.with_key()
    world.cloud.skew = 960.0
    await world.ledger.record(world.lease(BY_KEY, 1, NOW + 600))
    await world.rotate(BY_KEY, by=NAME)
    await world.until(RotationState.WAITING, BY_KEY)
    there = await world.rotating.rotations.get(f"connectors/{BY_KEY}")
    assert 600 + 960 <= there.wait_until - NOW < 600 + 970


async def test_now_does_not_wait_for_leases(world: World) -> None:
    """Told so, the old key is regenerated at once, and what it signed ends."""
    await world.with_key()
    before = world.maker.keys["one"]["key1"]
    await world.ledger.record(world.lease(BY_KEY, 1, NOW + 600))
    await world.rotate(BY_KEY, by=NAME, at_once=True)
    await world.done(BY_KEY)
    assert world.maker.keys["one"]["key1"] != before


@pytest.mark.parametrize("done", [False, True])
async def test_a_key_is_regenerated_once(world: World, done: bool) -> None:
    """An answer that was lost is no reason to do it again."""
    await world.with_key()
    world.maker.fail("regenerate_key", Reason.CLOUD_UNAVAILABLE, done=done)
    await world.rotate(BY_KEY, by=NAME)
    await world.done(BY_KEY)
    assert world.maker.calls["regenerate_key"] == (1 if done else 2)
    assert await world.key_in_use() == world.maker.keys["one"]["key2"]


async def test_a_key_that_others_use_is_kept_until_they_go_on(world: World) -> None:
    """Two connectors with one key: it is regenerated when the second has been rotated, too."""
    await world.with_key()
    await world.with_key(OTHER_KEY)
    before = dict(world.maker.keys["one"])
    await world.rotate(BY_KEY, by=NAME)
    await world.until(RotationState.WITHDRAWING, BY_KEY)
    await eventually(lambda: bool(world.memory.rotations[f"rotations/{BY_KEY}"].message))
    assert OTHER_KEY in world.memory.rotations[f"rotations/{BY_KEY}"].message
    assert world.maker.keys["one"] == before
    await world.rotate(OTHER_KEY, by=NAME)
    await world.done(OTHER_KEY)
    assert world.maker.keys["one"]["key1"] != before["key1"]
    assert await world.key_in_use() == await world.key_in_use(OTHER_KEY) == before["key2"]


async def test_who_was_given_a_key_while_it_was_regenerated_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It worked when it was tried, and nothing else would say that it is dead; the command that is named mends it."""
    await world.with_key()
    before, regenerate_key = dict(world.maker.keys["one"]), world.maker.regenerate_key

    async def slowly(by: Connector, credential: Credential, account: str, name: str) -> Mapping[str, Secret]:
        monkeypatch.undo()
        await world.with_key(OTHER_KEY)
        return await regenerate_key(by, credential, account, name)

    monkeypatch.setattr(world.maker, "regenerate_key", slowly)
    await world.rotate(BY_KEY, by=NAME)
    ended = await world.done(BY_KEY)
    assert await world.key_in_use(OTHER_KEY) == before["key1"], "a dead one"
    assert f"given to others while it was being regenerated: connector {OTHER_KEY}." in ended.message
    assert f"valetkey service-connector rotate {OTHER_KEY} --auto --by {NAME}" in ended.message
    await world.rotate(OTHER_KEY, by=NAME)
    assert not (await world.done(OTHER_KEY)).message
    assert await world.key_in_use(OTHER_KEY) in world.maker.keys["one"].values()


async def test_what_has_no_provider_is_refused(world: World) -> None:
    """A key without a connector that may ask, a connector that is not there, and one that asks for itself."""
    await world.with_key()
    with pytest.raises(InvalidFieldError, match="by: is not given"):
        await world.rotate(BY_KEY)
    with pytest.raises(BrokerError) as caught:
        await world.rotate(BY_KEY, by="nobody")
    assert caught.value.reason is Reason.CONNECTOR_NOT_FOUND


async def test_a_named_secret_gets_another_for_all_that_use_it() -> None:
    """It asks by its own rights, and all that use it follow."""
    world = World()
    repository = world.replica.repository
    secret = await repository.create_secret(make_secret(), ClientSecret(Secret(PLANTED)))
    await repository.create_sharing_connector(make_sharing_connector(secret, "first"))
    await world.automatic.rotate("secrets/az_secret", Automatic(), the_call())
    ended = await world.ended("secrets/az_secret")
    assert ended.state is RotationState.DONE
    assert await world.in_use("first") == ClientSecret(world.maker.made[ended.notes["key_id"]][1])


class FailingStore(FakeStateStore):
    """Vault goes away at the next write of the path `seal_at`, and cannot read below `unread`."""

    seal_at = ""
    unread = ""
    refused = 0

    async def write(self, path: str, data: Mapping[str, Any], *, expected: int) -> int:
        if path == self.seal_at:
            self.seal_at = ""
            self.fail_with = vault_unavailable("sealed", "sealed")
        return await super().write(path, data, expected=expected)

    async def read(self, path: str, version: int | None = None) -> Document | None:
        if self.unread and path.startswith(self.unread):
            self.refused += 1
            raise vault_unavailable("no answer", "timeout")
        return await super().read(path, version)


async def test_a_switch_that_is_made_late_is_not_undone() -> None:
    """Vault had the switch and went away: whoever settles it puts the secret in use, which stays at its provider."""
    store = FailingStore()
    world = World(store)
    await world.register()
    store.seal_at = PATH
    await world.rotate(prove=0)
    await eventually(lambda: store.fail_with is not None and world.rests())
    (made,) = [key_id for key_id in world.maker.made if key_id != "by-hand"]
    value = world.maker.made[made][1]
    world.cloud.secrets.discard(value.reveal())  # type: ignore[union-attr] # Entra hesitates: it would not prove good.
    store.fail_with = None
    world.at_once()
    await world.rotating.runner.look()
    await eventually(world.rests)
    await world.replica.poll()
    assert await world.in_use() == ClientSecret(value)
    assert made in world.maker.made
    world.cloud.secrets.add(value.reveal())  # type: ignore[union-attr]
    world.at_once()
    await world.done()
    assert made in world.maker.made


async def test_what_is_in_use_after_all_is_not_taken_back(world: World) -> None:
    """Aborted just as a holder that was only slow makes the switch: the rotation goes on to its end."""
    world.slow_entra = True
    await world.rotate()
    await world.until(RotationState.PROVING)
    (made,) = [key_id for key_id in world.maker.made if key_id != "by-hand"]
    value = world.maker.made[made][1]
    rotation = await world.rotating.rotations.get(PATH)
    origin = CredentialOrigin(rotation.started_at, rotation.started_by, rotation.id)
    there = replace(world.memory.connectors[NAME], origin=origin)
    await world.repository.update_connector(there, ClientSecret(value))
    world.cloud.secrets.add(value.reveal())  # type: ignore[union-attr]
    with contextlib.suppress(BrokerError):  # It may be at its end by now, which comes to the same.
        await world.rotating.rotations.abort(PATH, "key:ops")
    await world.done()
    assert made in world.maker.made
    assert await world.in_use() == ClientSecret(value)


async def test_the_two_keys_of_an_account_do_not_wait_for_each_other(world: World) -> None:
    """Two connectors with a key each, rotated at once: none takes the key that is about to be regenerated."""
    await world.with_key()
    await world.with_key(OTHER_KEY, "key2")
    before = dict(world.maker.keys["one"])
    await world.rotate(BY_KEY, by=NAME, at_once=True, prove=600)
    await world.rotate(OTHER_KEY, by=NAME, at_once=True, prove=600)
    first = await world.first_done(BY_KEY, OTHER_KEY)
    second = OTHER_KEY if first == BY_KEY else BY_KEY
    await world.until(RotationState.WITHDRAWING, second)
    # The second has the key that the first went to as its old one, and says so: that can be rotated again.
    await world.rotate(first, by=NAME, at_once=True)
    await world.done(first)
    world.at_once()
    await world.done(second)
    now = set(world.maker.keys["one"].values())
    assert not now & set(before.values())
    assert {await world.key_in_use(), await world.key_in_use(OTHER_KEY)} <= now
    told = [event.details.get("what") for event in world.ledger.of(EventKind.ROTATION)]
    assert "resumed" not in told, "no other process went on with one: trying again is not told of each time"


async def test_a_key_that_was_regenerated_meanwhile_is_read_anew(world: World) -> None:
    """The whole rotation of the one key comes between the other's look at the keys and its own beginning."""
    await world.with_key()
    await world.with_key(OTHER_KEY, "key2")
    before, look, looks = dict(world.maker.keys["one"]), world.maker.account_keys, 0

    async def slowly(by: Connector, credential: Credential, account: str) -> Mapping[str, Secret]:
        nonlocal looks
        keys = await look(by, credential, account)
        looks += 1
        if looks == 2:  # The first is the check before a rotation begins.
            world.maker.account_keys = look  # type: ignore[method-assign]
            await world.rotate(BY_KEY, by=NAME, at_once=True)
            await world.done(BY_KEY)
        return keys

    world.maker.account_keys = slowly  # type: ignore[method-assign]
    await world.rotate(OTHER_KEY, by=NAME, at_once=True)
    await world.until(RotationState.WITHDRAWING, OTHER_KEY)
    assert await world.key_in_use(OTHER_KEY) == world.maker.keys["one"]["key1"] != before["key1"]


async def _taken_over(world: World, call: str, name: str) -> None:
    """Has the process end that rotates, amid a call, and another go on that has not heard yet what is in use now."""
    behind = RotatingReplica(world.replica.store, world.cloud, world.ledger, maker=world.maker)
    await behind.repository.load()
    asked, really = asyncio.Event(), getattr(world.maker, call)

    async def never(*_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    setattr(world.maker, call, never)
    await world.rotate(name, by=NAME if name == BY_KEY else "", at_once=True)
    await asyncio.wait_for(asked.wait(), 60)
    await world.rotating.runner.close()
    setattr(world.maker, call, really)
    rotation = await behind.repository.rotations.read(f"rotations/{name}")
    assert rotation is not None
    assert rotation.state is RotationState.WITHDRAWING
    assert behind.memory.connectors[name].credential_version == rotation.from_version, "it is a poll behind"
    await behind.rotating.runner.look()
    await behind.ended(f"connectors/{name}")


async def test_a_replica_that_is_behind_has_the_old_key_made_anew_all_the_same(world: World) -> None:
    """To it the connector has no credential before the one in use: that must not mean that nothing is to be done."""
    await world.with_key()
    old = world.maker.keys["one"]["key1"]
    await _taken_over(world, "regenerate_key", BY_KEY)
    assert (await world.done(BY_KEY)).state is RotationState.DONE
    assert old not in world.maker.keys["one"].values()


async def test_a_replica_that_is_behind_removes_the_old_secret_all_the_same(world: World) -> None:
    """To it the old secret is the one in use, which would stay."""
    await world.rotate()
    await world.done()
    (old,) = (key_id for key_id in world.maker.made if key_id != "by-hand")
    await _taken_over(world, "remove_password", NAME)
    assert (await world.done()).state is RotationState.DONE
    assert old not in world.maker.made


async def test_no_key_is_regenerated_while_nobody_can_tell_who_uses_it() -> None:
    """Vault does not say what a named secret holds: that is no reason to take it for another key."""
    store = FailingStore()
    world = World(store)
    await world.register()
    await world.with_key()
    key = world.maker.keys["one"]["key1"]
    secret = replace(make_secret(account="one"), auth_method="account-key", azure=AzureConfig("", "", "dev", "one"))
    await world.repository.create_secret(secret, AccountKey(key))
    store.unread = "shared-credentials/"
    await world.rotate(BY_KEY, by=NAME, at_once=True)
    await eventually(lambda: store.refused > 0 and world.rests())
    assert await world.state(BY_KEY) is RotationState.WITHDRAWING
    assert world.maker.calls["regenerate_key"] == 0
    assert world.maker.keys["one"]["key1"] == key
