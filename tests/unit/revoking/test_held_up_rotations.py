"""A hard revocation whose rotation is held up: it says by what, and goes on with what came to have the key since."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from support.revoking_replica import BY_KEY, OTHER, World
from support.rotating_replica import NAME, the_call
from valetkey_broker.connectors.made_credential_rotations import Automatic
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import RotationState
from valetkey_broker.model.revocation import RevocationState


@pytest.fixture
async def world() -> World:
    world = World()
    await world.register()
    await world.with_key()
    return world


async def test_what_got_the_key_after_the_revocation_was_made_is_rotated_as_well(world: World) -> None:
    """Azure would not make the key anew while another connector here needs it."""
    key = world.maker.keys["one"]["key1"]
    await world.issue()
    await world.revoke()
    await world.with_key(OTHER)
    assert [each.rotates for each in world.made.keys] == [f"connectors/{BY_KEY}"]
    await world.until(RevocationState.REVOKED)
    assert {each.rotates for each in world.made.keys} == {f"connectors/{BY_KEY}", f"connectors/{OTHER}"}
    assert key not in world.maker.keys["one"].values()


async def test_an_earlier_rotation_in_the_way_is_named_with_what_holds_it_up(world: World) -> None:
    """The note has the cause and the command that helps, no abort that would be refused; the log has it once."""
    await world.with_key(OTHER)
    await world.automatic.rotate(f"connectors/{BY_KEY}", Automatic(by=NAME, at_once=True), the_call())
    async with asyncio.timeout(20):
        while not world.memory.rotations[f"rotations/{BY_KEY}"].message:
            world.clock.now += 1
            await world.poll()
            await asyncio.sleep(0.005)
    assert world.memory.rotations[f"rotations/{BY_KEY}"].state is RotationState.WITHDRAWING
    await world.issue()
    await world.revoke()
    with capture_logs() as logs:
        for _ in range(4):
            await world.revoking.keys.look(at_once=True)
    said = world.made.keys[0].error
    assert f"others use it: connector {OTHER}" in said
    assert f"valetkey service-connector rotate {OTHER} --auto --by {NAME}" in said
    assert "--abort" not in said
    assert len([each for each in logs if "not revoked yet" in each["event"]]) == 1
    (pace,) = world.revoking.keys._paces.values()
    assert pace.due - time.monotonic() > 1.5, "what fails the same way again is asked about ever less"
    with pytest.raises(BrokerError, match=f"others use it: connector {OTHER}"):
        await world.automatic.rotate(f"connectors/{BY_KEY}", Automatic(by=NAME), the_call())
