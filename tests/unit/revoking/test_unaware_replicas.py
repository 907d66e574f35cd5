"""Hard revocations and the tokens of replicas that had not heard of them yet: what they say of those is true."""

import pytest

from support.revoking_replica import World
from support.rotating_replica import NAME
from valetkey_broker.model.revocation import LeaseState, RevocationState
from valetkey_broker.revoking.revoker import Asked


@pytest.fixture
async def world() -> World:
    """The keys of account one are revoked for all that the trainer has."""
    world = World()
    await world.register()
    await world.issue(NAME)
    await world.revoke(through="")
    await _revoke_keys(world, "r-1")
    assert (await world.revoking.revoker.get("r-1")).state is RevocationState.REVOKED
    return world


async def _revoke_keys(world: World, name: str) -> None:
    await world.revoking.keys.look(at_once=True)
    world.cloud.revoke_keys(world.memory.revocations[name].keys[0].revoked_at)
    await world.until(RevocationState.REVOKED, name)


async def _issue(world: World, *, account: str, seconds_later: float) -> str:
    """Puts on record what a replica issued so long after the keys of account one were revoked."""
    return await world.issue(NAME, account=account, at=world.made.keys[0].revoked_at + seconds_later)


async def test_a_token_of_other_keys_keeps_it_from_being_called_over(world: World) -> None:
    """Nothing ended it, so it lives on: the revocation waits for it, and it can be ended by its own id."""
    lease = await _issue(world, account="two", seconds_later=0.5)
    shown = await world.revoking.revoker.get("r-1")
    assert (shown.state, shown.until) == (RevocationState.WAITING, world.leases[lease].expires)
    assert world.state(lease) is LeaseState.WAITING
    await world.revoke(through="", asked=Asked(lease_id=lease), name="r-2")
    await _revoke_keys(world, "r-2")
    assert world.state(lease) is LeaseState.REVOKED
    assert (await world.revoking.revoker.get("r-1")).state is RevocationState.REVOKED


async def test_a_token_of_the_same_account_is_dead_with_its_key(world: World) -> None:
    """Whoever had not heard of it signed with a key that began before: nobody is made to wait for such a token."""
    lease = await _issue(world, account="one", seconds_later=0.5)
    assert world.state(lease) is LeaseState.REVOKED
    assert (await world.revoking.revoker.get("r-1")).state is RevocationState.REVOKED


async def test_a_replica_that_was_cut_off_for_long_may_have_a_key_that_lives(world: World) -> None:
    """It gets keys of its own from Azure, which begin behind the revocation at last."""
    lease = await _issue(world, account="one", seconds_later=45)
    shown = await world.revoking.revoker.get("r-1")
    assert (shown.state, shown.until) == (RevocationState.WAITING, world.leases[lease].expires)
    assert world.state(lease) is LeaseState.WAITING


async def test_what_is_issued_once_it_was_lifted_lives(world: World) -> None:
    """By then every replica that issues it has keys of after the revocation."""
    world.clock.now = world.made.keys[0].revoked_at + 1.0
    await world.revoking.revoker.lift("r-1", lifted_by="key:ops")
    assert world.state(await _issue(world, account="one", seconds_later=2.0)) is LeaseState.LIVE
