"""StateRepository and grants: check-and-set on every change, gone for good everywhere, names given again."""

import asyncio
from dataclasses import replace

import pytest

from support.core import NOW, Replica, make_connector, make_grant
from support.fake_store import FakeStateStore
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import ConsumerRole, Grant, InvalidFieldError, Pattern
from valetkey_broker.state.codec import decode_grant, encode_grant

CONNECTOR = make_connector()


async def _reason(call: object) -> Reason:
    with pytest.raises(BrokerError) as caught:
        await call  # type: ignore[misc]
    return caught.value.reason


async def test_grants_come_change_and_go() -> None:
    """A grant is created once, replaced by who has seen it, deleted once; versions count up."""
    replica = Replica()
    created = await replica.repository.create_grant(make_grant("training", CONNECTOR))
    assert replica.memory.grants == {"training": created}
    assert created.version == 1
    other = make_grant("training", CONNECTOR, permissions="r")
    assert await _reason(replica.repository.create_grant(other)) is Reason.GRANT_EXISTS
    updated = await replica.repository.update_grant(replace(created, note="wider"))
    assert (updated.version, replica.memory.grants["training"].note) == (2, "wider")
    await replica.repository.delete_grant("training", "key:admin")
    assert replica.memory.grants == {}
    assert await _reason(replica.repository.delete_grant("training", "key:admin")) is Reason.GRANT_NOT_FOUND
    assert await _reason(replica.repository.update_grant(updated)) is Reason.GRANT_NOT_FOUND
    again = await replica.repository.create_grant(make_grant("training", CONNECTOR))
    assert again.version > updated.version


async def test_an_update_of_what_somebody_else_changed_is_refused() -> None:
    """Two admins cannot overwrite each other in silence, nor bring a deleted grant back."""
    store = FakeStateStore()
    one, other = Replica(store), Replica(store)
    created = await one.repository.create_grant(make_grant("training", CONNECTOR))
    await other.repository.update_grant(replace(created, note="theirs"))
    assert await _reason(one.repository.update_grant(replace(created, note="mine"))) is Reason.CONFLICT
    assert one.memory.grants["training"].note == "theirs"
    await other.repository.delete_grant("training", "key:admin")
    anew = await other.repository.create_grant(make_grant("training", CONNECTOR, permissions="r"))
    assert await _reason(one.repository.update_grant(replace(created, note="mine"))) is Reason.CONFLICT
    assert one.memory.grants["training"] == anew


async def test_of_writers_at_the_same_time_one_wins() -> None:
    """However many update one version at once, one is taken and the others are told."""
    store = FakeStateStore()
    replicas = [Replica(store) for _ in range(4)]
    created = await replicas[0].repository.create_grant(make_grant("training", CONNECTOR))
    outcomes = await asyncio.gather(
        *(r.repository.update_grant(replace(created, note=f"note {n}")) for n, r in enumerate(replicas)),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, Grant) for outcome in outcomes) == 1
    assert [o.reason for o in outcomes if isinstance(o, BrokerError)] == [Reason.CONFLICT] * 3


async def test_a_removed_grant_is_gone_from_other_replicas_at_their_next_look() -> None:
    """Removal travels like any other change, and one that was never announced travels when it is tried again."""
    store = FakeStateStore()
    one, other = Replica(store), Replica(store)
    await one.repository.create_grant(make_grant("training", CONNECTOR))
    await other.repository.refresh()
    assert "training" in other.memory.grants
    await one.repository.delete_grant("training", "key:admin")
    await other.repository.refresh()
    assert other.memory.grants == {}

    await one.repository.create_grant(make_grant("training", CONNECTOR))
    await other.repository.refresh()
    await store.write("grants/training", {"deleted": True}, expected=await store.newest("grants/training"))
    await other.repository.refresh()
    assert "training" in other.memory.grants
    assert await _reason(one.repository.delete_grant("training", "key:admin")) is Reason.GRANT_NOT_FOUND
    await other.repository.refresh()
    assert other.memory.grants == {}


async def test_listeners_hear_of_changes_only() -> None:
    """Who compiles grants is told each change once; reading all of them anew is none."""
    replica = Replica()
    heard: list[tuple[Grant | None, Grant | None]] = []
    first = await replica.repository.create_grant(make_grant("first", CONNECTOR))
    replica.memory.watch_grants(lambda before, after: heard.append((before, after)))
    changes = replica.memory.changes
    await replica.repository.load()
    assert (heard, replica.memory.changes) == ([(None, first)], changes)
    second = await replica.repository.update_grant(replace(first, note="new"))
    await replica.repository.delete_grant("first", "key:admin")
    assert heard[1:] == [(first, second), (second, None)]
    assert replica.memory.changes == changes + 2


@pytest.mark.parametrize("full", [False, True])
def test_grants_survive_the_way_through_vault(*, full: bool) -> None:
    """Every field reads back as it was written, whether it was given or left out."""
    grant = make_grant("training", CONNECTOR, version=7)
    if full:
        grant = make_grant(
            "training",
            CONNECTOR,
            make_connector("other"),
            principals=("key:a", "oidc:https://issuer.invalid#system:serviceaccount:*:trainer"),
            containers=("demo", "ml-*"),
            prefixes=("models/a", "b"),
            permissions="racwdl",
            attributes={"namespace": "ml-*", "team": "vision"},
            max_ttl=600,
            source_ip="203.0.113.1-203.0.113.9",
            expires=NOW + 5,
            version=7,
        )
        grant = replace(grant, consumer_role=ConsumerRole.DEPLOYER, note="wörds")
    assert decode_grant("training", encode_grant(grant), 7) == grant


def test_a_pattern_of_the_document_is_checked_again() -> None:
    """What the API would refuse is refused from Vault as well."""
    with pytest.raises(InvalidFieldError):
        decode_grant("g", {**encode_grant(make_grant("g", CONNECTOR)), "containers": ["**"]}, 1)
    assert Pattern("ml-*", "containers").matches("ml-a")
