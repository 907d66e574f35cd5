"""Revocations where more tokens live than are looked through: the emergency brake is not refused for that."""

from dataclasses import replace

import pytest

from support.revoking_replica import BY_KEY, World
from valetkey_broker.model import InvalidFieldError
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
