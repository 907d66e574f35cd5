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


async def test_what_is_too_far_back_is_no_slip(world: World) -> None:
    """Nobody can tell that no token was ever issued for it: further ones are refused from now on, as was asked."""
    rare = Asked(connector=BY_KEY, resource_id="az://demo/rare/")
    with pytest.raises(InvalidFieldError, match="not all that live were looked through"):
        await world.revoke(asked=rare)
    made = await world.revoking.revoker.create(
        "r-1", rare, reason="leaked", hard=False, through="", created_by="key:ops"
    )
    assert made.revocation.in_force
    with pytest.raises(InvalidFieldError, match="no token was ever issued"):
        await world.revoking.revoker.preview(Asked(principal="key:nobody"))
