"""StateRepository and API keys: created once, revoked for good, also where somebody was cut off half-way."""

import asyncio
from dataclasses import replace

import pytest

from support.core import Replica, make_api_key
from support.fake_store import FakeStateStore
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import ApiKey, EarlierDigest, Role


async def test_api_keys_come_and_go() -> None:
    """A key is created once, revoked once, and its name may be given again."""
    replica = Replica()
    key = make_api_key(roles=frozenset({Role.OPERATOR, Role.VIEWER}))
    await replica.repository.create_api_key(key)
    assert replica.memory.keys_by_digest[key.digest].key == key
    assert replica.memory.keys_by_digest[key.digest].principal.name == "key:trainer"
    with pytest.raises(BrokerError) as caught:
        await replica.repository.create_api_key(make_api_key(letter="U"))
    assert caught.value.reason is Reason.API_KEY_EXISTS
    await replica.repository.revoke_api_key("trainer", "key:admin")
    assert replica.memory.keys_by_digest == {}
    with pytest.raises(BrokerError) as caught:
        await replica.repository.revoke_api_key("trainer", "key:admin")
    assert caught.value.reason is Reason.API_KEY_NOT_FOUND
    await replica.repository.create_api_key(make_api_key(letter="U"))
    assert list(replica.memory.keys_by_digest) == [make_api_key(letter="U").digest]


async def test_revoking_an_unknown_key_writes_nothing() -> None:
    """A typing error makes neither a tombstone nor news."""
    replica = Replica()
    with pytest.raises(BrokerError) as caught:
        await replica.repository.revoke_api_key("nobody", "key:admin")
    assert caught.value.reason is Reason.API_KEY_NOT_FOUND
    assert replica.store.calls["write"] == 0


async def test_of_key_creators_at_the_same_time_one_wins() -> None:
    """Two admins who give one name at once end with one key, and one of them knows."""
    store = FakeStateStore()
    one, other = Replica(store), Replica(store)
    outcomes = await asyncio.gather(
        one.repository.create_api_key(make_api_key(letter="A")),
        other.repository.create_api_key(make_api_key(letter="B")),
        return_exceptions=True,
    )
    assert len([outcome for outcome in outcomes if isinstance(outcome, ApiKey)]) == 1
    (refusal,) = [outcome for outcome in outcomes if isinstance(outcome, BrokerError)]
    assert refusal.reason is Reason.API_KEY_EXISTS


async def test_a_revocation_tried_again_reaches_the_replicas_that_missed_it() -> None:
    """An admin whose call was cut off after the write tries again: from then on no replica takes the key."""
    store = FakeStateStore()
    one, other = Replica(store), Replica(store)
    await one.repository.create_api_key(make_api_key())
    await other.repository.load()
    await store.write("api-keys/trainer", {"deleted": True, "deleted_by": "key:admin"}, expected=1)
    await other.repository.refresh()
    assert "trainer" in other.memory.keys_by_name
    with pytest.raises(BrokerError):
        await one.repository.revoke_api_key("trainer", "key:admin")
    await other.repository.refresh()
    assert other.memory.keys_by_digest == {}
    assert one.memory.keys_by_digest == {}


async def test_a_caller_who_hangs_up_leaves_no_blind_spot() -> None:
    """A change whose call was cancelled before it was taken over is found at the next look."""
    store = FakeStateStore()
    replica = Replica(store)
    await replica.repository.load()
    creating = asyncio.create_task(replica.repository.create_api_key(make_api_key()))
    while not await store.newest("api-keys/trainer"):  # noqa: ASYNC110 (nothing tells of it)
        await asyncio.sleep(0)
    creating.cancel()
    await asyncio.gather(creating, return_exceptions=True)
    await replica.repository.refresh()
    assert "trainer" in replica.memory.keys_by_name


def test_a_changed_key_is_a_change() -> None:
    """What is decided again when something changed is so, too, when a key comes, changes or goes; not otherwise."""
    memory = Replica().memory
    counts, same = [], make_api_key()
    for key in (same, same, make_api_key(letter="U")):
        memory.put_api_key(key)
        counts.append(memory.changes)
    assert counts[0] > 0
    assert counts[1] == counts[0] < counts[2]
    memory.drop_api_key("trainer")
    assert memory.changes > counts[2]
    gone = memory.changes
    memory.drop_api_key("trainer")
    assert memory.changes == gone


async def test_of_two_rotations_at_once_none_is_lost() -> None:
    """Two admins who rotate one key at the same moment: whoever is not told otherwise has a secret that counts."""
    store = FakeStateStore()
    key = make_api_key()
    await Replica(store).repository.create_api_key(key)

    async def give(letter: str) -> str:
        digest = make_api_key(letter=letter).digest
        try:
            await Replica(store).repository.rotate_api_key(
                "trainer",
                lambda before: replace(
                    before, digest=digest, earlier=(EarlierDigest(before.digest, before.expires_at), *before.earlier)
                ),
            )
        except BrokerError as error:
            return error.reason.name
        return letter

    told = await asyncio.gather(give("A"), give("B"))
    done = {"A", "B"}.intersection(told)
    assert set(told) - done <= {"CONFLICT"}
    late = Replica(store)
    await late.repository.load()
    assert done
    assert set(late.memory.keys_by_digest) == {make_api_key(letter=letter).digest for letter in {"T", *done}}
    assert [each.replaced for each in late.memory.keys_by_digest.values()].count(False) == 1


async def test_keys_of_earlier_versions_load_and_rotate() -> None:
    """A document without anything of rotations is a key that was never rotated; what a later one adds stays."""
    store = FakeStateStore()
    document = {
        "uid": "33333333-3333-4333-8333-333333333333",
        "sha256": "ab" * 32,
        "roles": ["admin"],
        "expires_at": "2999-01-01T00:00:00+00:00",
        "created_at": "2026-01-01T00:00:00+00:00",
        "created_by": "bootstrap",
        "of_later": "stays",
    }
    await store.write("api-keys/admin", document, expected=0)
    replica = Replica(store)
    await replica.repository.load()
    key = replica.memory.keys_by_name["admin"].key
    assert (key.earlier, key.rotated_at, key.rotated_by) == ((), None, "")
    await replica.repository.rotate_api_key("admin", lambda before: replace(before, digest=b"n" * 32))
    stored = await store.read("api-keys/admin")
    assert stored is not None
    assert (stored.data["sha256"], stored.data["of_later"]) == ((b"n" * 32).hex(), "stays")


@pytest.mark.parametrize("earlier", ["x", [{"sha256": "zz", "ends_at": "2999-01-01T00:00:00+00:00"}], [{}]])
async def test_a_malformed_rotation_makes_no_key(earlier: object) -> None:
    """What was edited by hand is not half believed."""
    store = FakeStateStore()
    await Replica(store).repository.create_api_key(make_api_key())
    document = await store.read("api-keys/trainer")
    assert document is not None
    await store.write("api-keys/trainer", {**document.data, "earlier": earlier}, expected=1)
    replica = Replica(store)
    await replica.repository.load()
    assert replica.memory.keys_by_digest == {}
    with pytest.raises(BrokerError) as caught:
        await replica.repository.rotate_api_key("trainer", lambda before: before)
    assert caught.value.reason is Reason.API_KEY_NOT_FOUND
