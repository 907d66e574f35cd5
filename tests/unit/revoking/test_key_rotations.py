"""Revoking what an account's own key signed: the key is rotated, followed to its end, and tried on storage."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from support.core import NOW, make_secret, make_sharing_connector
from support.revoking_replica import BY_KEY, OTHER, TRAINER, World
from support.rotating_replica import NAME, the_call
from valetkey_broker.adapters.azure.auth_methods.account_key import AccountKey
from valetkey_broker.connectors.made_credential_rotations import Automatic
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import (
    AzureConfig,
    Connector,
    Credential,
    EventKind,
    InvalidFieldError,
    RotationSchedule,
    RotationState,
    Secret,
)
from valetkey_broker.model.revocation import KeyRevocationState, LeaseState, RevocationState, SignerKind
from valetkey_broker.revoking.revoker import Asked


@pytest.fixture
async def world() -> World:
    world = World()
    await world.register()
    await world.with_key()
    return world


async def test_it_rotates_the_key_and_is_over_once_storage_refuses_the_old_one(world: World) -> None:
    """Told beforehand what it hits; leases are revoking until the old key was tried; all of it is on record."""
    mine, others = await world.issue(), await world.issue(principal="key:other")
    hit = (await world.revoking.revoker.preview(TRAINER, NAME)).hit.signers[0]
    assert (hit.kind, hit.obstacle, [each.path for each in hit.holders], hit.by) == (
        SignerKind.ACCOUNT_KEY,
        "",
        [f"connectors/{BY_KEY}"],
        NAME,
    )
    assert (hit.covered, hit.others, hit.other_principals) == (1, 1, ["key:other"])
    old, world.storage_acts = world.maker.keys["one"]["key1"], False
    assert (await world.revoke()).state is RevocationState.REVOKING
    assert (world.state(mine), world.state(others)) == (LeaseState.REVOKING, LeaseState.LIVE)
    async with asyncio.timeout(60):
        while not world.made.keys[0].revoked_at:
            await world.revoking.keys.look(at_once=True)
            await world.poll()
            await asyncio.sleep(0.005)
    rotation = await world.ended(f"connectors/{BY_KEY}")
    assert (rotation.state, rotation.started_by) == (RotationState.DONE, "key:ops")
    assert world.maker.keys["one"]["key1"] != old
    for _ in range(3):
        await world.revoking.keys.look(at_once=True)
    assert (world.state(mine), world.state(others)) == (LeaseState.REVOKING, LeaseState.REVOKING), "storage is late"
    assert world.cloud.secrets is not None
    world.cloud.secrets.discard(old.reveal())
    await world.until(RevocationState.REVOKED)
    assert (world.state(mine), world.state(others)) == (LeaseState.REVOKED, LeaseState.REVOKED)
    fresh = await world.issue(principal="key:other")
    assert world.state(fresh) is LeaseState.LIVE
    (told,) = await world.events(EventKind.KEYS_REVOKED)
    assert {name: told.details[name] for name in ("covered", "others", "others_of", "rotated")} == {
        "covered": "1",
        "others": "1",
        "others_of": "key:other",
        "rotated": f"connectors/{BY_KEY}",
    }
    assert len(await world.events(EventKind.REVOCATION_PROVED)) == 1
    begun = [each for each in await world.events(EventKind.CHANGE_BEGUN) if each.object == f"rotations/{BY_KEY}"]
    assert [each.details["revocation"] for each in begun] == ["r-1"]
    assert await world.in_use(BY_KEY) == AccountKey(world.maker.keys["one"]["key2"])


async def test_without_a_way_the_sentence_says_what_to_do(world: World) -> None:
    """Nobody named, an account's key that cannot ask, both keys at once, a key of before: refused, nothing stored."""
    await world.issue()
    with pytest.raises(InvalidFieldError, match=f"--by a connector.*rotate {BY_KEY} --auto --by CONNECTOR --now"):
        await world.revoke("")
    with pytest.raises(InvalidFieldError, match="has an account's key alone"):
        await world.revoke(BY_KEY)
    await world.with_key(OTHER, "key2")
    await world.issue(OTHER)
    with pytest.raises(InvalidFieldError, match="both keys of the account"):
        await world.revoke()
    assert not world.memory.revocations
    assert world.maker.calls["regenerate_key"] == 0


async def test_azure_has_to_show_its_keys_before_anything_begins(world: World) -> None:
    """What is not granted is said at once, and nothing is refused or rotated by then."""
    await world.issue()
    world.maker.fail("account_keys", Reason.CLOUD_PERMISSION_MISSING)
    with pytest.raises(BrokerError) as refused:
        await world.revoke()
    assert refused.value.reason is Reason.CLOUD_PERMISSION_MISSING
    assert not world.memory.revocations


async def test_what_signs_while_azure_is_asked_is_ended_as_well(world: World) -> None:
    """A token that the revocation covers, and no key of it ended, would live on though it is called over."""
    await world.issue()
    look = world.maker.account_keys

    async def slowly(by: Connector, credential: Credential, account: str) -> Mapping[str, Secret]:
        world.maker.account_keys = look  # type: ignore[method-assign]
        await world.issue(NAME)
        return await look(by, credential, account)

    world.maker.account_keys = slowly  # type: ignore[method-assign]
    made = (await world.revoke()).revocation
    assert {each.kind for each in made.keys} == {SignerKind.ACCOUNT_KEY, SignerKind.USER_DELEGATION_KEY}
    assert made.covered == 2


async def test_all_that_have_the_same_key_are_rotated_with_it(world: World) -> None:
    """Another connector and a named secret with the same key: Azure makes it anew once nobody here needs it."""
    key = world.maker.keys["one"]["key1"]
    await world.with_key(OTHER)
    draft = replace(
        make_secret("shared"),
        auth_method="account-key",
        azure=AzureConfig("", "", "dev", storage_account="one"),
        secret_fields=("account_key",),
    )
    secret = await world.repository.create_secret(draft, AccountKey(key))
    await world.repository.create_sharing_connector(make_sharing_connector(secret, "by-secret"))
    covered, beside = await world.issue(), await world.issue("by-secret", "key:other")
    await world.revoke()
    assert {each.rotates for each in world.made.keys} == {
        f"connectors/{BY_KEY}",
        f"connectors/{OTHER}",
        "secrets/shared",
    }
    await world.until(RevocationState.REVOKED)
    assert world.maker.keys["one"]["key1"] != key
    assert (world.state(covered), world.state(beside)) == (LeaseState.REVOKED, LeaseState.REVOKED)


async def test_a_schedule_names_by_whom_and_a_rotation_that_waits_is_hurried(world: World) -> None:
    """One that waited for leases makes the old key anew now; it is not rotated twice."""
    await world.rotating.schedules.set(f"connectors/{BY_KEY}", RotationSchedule(86_400, NAME))
    lease = await world.issue()
    await world.automatic.rotate(f"connectors/{BY_KEY}", Automatic(by=NAME), the_call())
    async with asyncio.timeout(60):
        while world.memory.rotations[f"rotations/{BY_KEY}"].state is not RotationState.WAITING:
            await world.poll()
            await asyncio.sleep(0.005)
    await world.revoke("")
    for _ in range(2):
        await world.revoking.keys.look(at_once=True)
    world.clock.now = NOW + 16
    await world.until(RevocationState.REVOKED)
    assert world.state(lease) is LeaseState.REVOKED
    assert world.maker.calls["regenerate_key"] == 1
    assert world.memory.connectors[BY_KEY].credential_version == 2


async def test_what_only_a_key_of_before_signed_is_not_promised_to_end(world: World) -> None:
    """Replaced by hand, the old key is in no connector any more: what ends it is said, and that it is one of two."""
    await world.issue(version=1)
    value = AccountKey(world.maker.keys["one"]["key2"])
    await world.repository.update_connector(world.memory.connectors[BY_KEY], value)
    await world.issue()
    command = f"valetkey service-connector rotate {BY_KEY} --auto --by {NAME} --now, and the same again"
    with pytest.raises(InvalidFieldError, match=f"end 1 of the 2 tokens: .* without --hard.*{command}"):
        await world.revoke()


async def test_what_an_earlier_revocation_ended_does_not_stand_in_the_way_of_the_next(world: World) -> None:
    """Two leaks were ended, each by another key: the third is counted alone, and ended as well."""
    for name in ("r-1", "r-2", "r-3"):
        leak = await world.issue()
        hit = (await world.revoking.revoker.preview(TRAINER, NAME)).hit
        assert (hit.covered, [(each.covered, each.obstacle) for each in hit.signers]) == (1, [(1, "")])
        await world.revoke(name=name)
        await world.until(RevocationState.REVOKED, name)
        assert world.state(leak) is LeaseState.REVOKED
        await world.revoking.revoker.lift(name, lifted_by="key:ops")
    assert world.maker.calls["regenerate_key"] == 3
    with pytest.raises(InvalidFieldError, match="no token that is covered is alive"):
        await world.revoke(name="r-4")


async def test_an_older_token_counts_as_alive_until_its_own_key_was_seen_refused(world: World) -> None:
    """What ended the second key of an account says nothing of the first, which was replaced by hand."""
    await world.issue(version=1)
    value = AccountKey(world.maker.keys["one"]["key2"])
    await world.repository.update_connector(world.memory.connectors[BY_KEY], value)
    await world.issue(principal="key:other")
    await world.revoke(asked=Asked(principal="key:other"))
    await world.until(RevocationState.REVOKED)
    assert (await world.revoking.revoker.preview(TRAINER, NAME)).hit.covered == 1


async def test_a_rotation_that_fails_is_shown_and_begun_again_until_it_is_lifted(world: World) -> None:
    """The revocation says why; lifted before a key was made anew, the order is given up."""
    await world.issue()
    await world.revoke()
    world.maker.fail("account_keys", Reason.CLOUD_UNAVAILABLE)
    await world.revoking.keys.look(at_once=True)
    keys = world.made.keys[0]
    assert (world.made.state_of(keys, NOW), "fake fails account_keys" in keys.error) == (
        KeyRevocationState.PENDING,
        True,
    )
    await world.revoking.revoker.lift("r-1", lifted_by="key:ops")
    for _ in range(3):
        await world.revoking.keys.look(at_once=True)
    assert world.made.state_of(world.made.keys[0], NOW) is KeyRevocationState.GIVEN_UP
    assert world.maker.calls["regenerate_key"] == 0
