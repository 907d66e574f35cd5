"""Revocations where more tokens live than are looked through: the emergency brake is not refused for that."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from support.revoking_replica import BY_KEY, World
from support.rotating_replica import NAME
from valetkey_broker.model import EventKind, InvalidFieldError, LeaseFilter, StoredEvent
from valetkey_broker.model.revocation import RevocationState
from valetkey_broker.revoking.revoker import Asked


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """One token of a grant in a path of its own, and behind it more of another than are looked through."""
    monkeypatch.setattr("valetkey_broker.revoking.impact._MOST", 4)
    monkeypatch.setattr("valetkey_broker.revoking.impact._PAGE", 2)
    world = World()
    await world.register()
    await world.with_key()
    one = world.leases[await world.issue()]
    await world.ledger.record(replace(one, grant="leaked", lease_id="rare", resource=f"{one.resource}/rare/model"))
    for number in range(6):
        lease = replace(one, lease_id=f"usual-{number}", resource=f"{one.resource}/usual/{number}")
        await world.ledger.record(lease)
    return world


async def test_the_tokens_of_a_grant_are_found_behind_those_of_others(world: World) -> None:
    """The ledger is asked for the grant's own: how much others were given meanwhile does not count."""
    found = await world.revoking.revoker.preview(Asked(grant="leaked"))
    assert (found.hit.covered, found.hit.incomplete) == (1, False)


async def test_a_number_is_the_least_where_more_live_than_were_looked_at(world: World) -> None:
    """Of the others of the same key, which nobody counted to the end; and so it stands on record of what it hit."""
    asked = Asked(grant="leaked")
    (signer,) = (await world.revoking.revoker.preview(asked, NAME)).hit.signers
    assert (signer.covered, signer.others, signer.more) == (1, 4, True)
    await world.revoke(asked=asked)
    await world.until(RevocationState.REVOKED)
    (hit,) = await world.events(EventKind.KEYS_REVOKED)
    (keys,) = world.made.keys
    assert (keys.covered, keys.others, keys.at_least) == (1, 4, True)
    assert (hit.details["covered"], hit.details["others"], hit.details["at_least"]) == ("1", "4", "yes")


async def test_a_number_that_was_counted_to_the_end_is_no_least(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """Nothing is made vague that is known."""
    monkeypatch.setattr("valetkey_broker.revoking.impact._MOST", 20)
    (signer,) = (await world.revoking.revoker.preview(Asked(grant="leaked"), NAME)).hit.signers
    assert (signer.covered, signer.others, signer.more) == (1, 7, False)


@pytest.mark.parametrize("path", ["", "/usual/"])
async def test_a_hard_revocation_ends_the_keys_of_what_is_too_far_back(world: World, path: str) -> None:
    """However many tokens were issued since: those of every account that is covered end, not of the newest only."""
    first = world.leases["lease-0"]
    far = replace(first, lease_id="far", resource="https://two.blob.invalid/demo/usual/x", credential_version=7)
    await world.ledger.record(far)
    for number in range(9):
        await world.ledger.record(replace(first, lease_id=f"new-{number}", resource=f"{first.resource}/usual/{number}"))
    asked = Asked(principal="key:trainer", resource_id=f"az://demo{path}" if path else "")
    found = await world.revoking.revoker.preview(asked)
    assert [each.account for each in found.hit.signers] == ["one", "two"]
    assert found.hit.incomplete


async def test_what_is_too_far_back_is_no_slip(world: World) -> None:
    """It is found where it lives; where it ended, nobody can tell that it never was: further ones are refused."""
    rare = Asked(connector=BY_KEY, resource_id="az://demo/rare/")
    preview = await world.revoking.revoker.preview(rare)
    assert (preview.hit.covered, preview.hit.incomplete) == (1, True)
    world.clock.now += 601
    with pytest.raises(InvalidFieldError, match="nothing to end"):
        await world.revoke(asked=rare)
    made = await world.revoking.revoker.create(
        "r-1", rare, reason="leaked", hard=False, through="", created_by="key:ops"
    )
    assert made.revocation.in_force
    with pytest.raises(InvalidFieldError, match="no token was ever issued"):
        await world.revoking.revoker.preview(Asked(principal="key:nobody"))


async def test_a_late_token_far_back_keeps_a_revocation_waiting(world: World) -> None:
    """Nobody is told that all have ended while one lives on behind those that were given to others of the container."""
    asked = Asked(resource_id="az://demo/rare/")
    made = await world.revoking.revoker.create(
        "r-1", asked, reason="leaked", hard=False, through="", created_by="key:ops"
    )
    assert (made.state, made.revocation.covered) == (RevocationState.WAITING, 0)
    shown = await world.revoking.revoker.get("r-1")
    assert (shown.state, shown.until) == (RevocationState.WAITING, world.leases["lease-0"].expires)
    world.clock.now += 601
    assert (await world.revoking.revoker.get("r-1")).state is RevocationState.REVOKED


async def test_what_others_are_given_later_is_not_gone_through(world: World) -> None:
    """A revocation is in force for years: only what can be of before it, or of a replica that had not heard, counts."""
    asked = Asked(resource_id="az://demo/rare/")
    made = await world.revoking.revoker.create("r-1", asked, reason="", hard=False, through="", created_by="key:ops")
    looked_through: list[LeaseFilter] = []
    leases = world.ledger.leases

    async def noted(wanted: LeaseFilter) -> Sequence[StoredEvent]:
        looked_through.append(wanted)
        return await leases(wanted)

    world.ledger.leases = noted  # type: ignore[method-assign]
    await world.revoking.revoker.get("r-1")
    assert {each.issued_before for each in looked_through} == {made.revocation.created_at.timestamp() + 60 + 300}
    world.clock.now += 7 * 24 * 3600 + 60 + 300
    looked_through.clear()
    assert (await world.revoking.revoker.get("r-1")).state is RevocationState.REVOKED
    assert not looked_through, "no token of then can live"
