"""That storage refuses a token of before is a proof only where nothing else was the reason."""

import pytest

from support.revoking_replica import World
from support.rotating_replica import NAME
from valetkey_broker.model import Connector, Container, SigningKey
from valetkey_broker.model.revocation import KeyRevocationState, RevocationState


async def test_a_key_that_ended_by_itself_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another replica may have had one that lives for hours, and storage has not acted on the order yet."""
    world = World()
    connector = await world.register()
    key = await world.keys.get(connector, "one", world.clock() + 600)
    world.clock.now = key.expires - 10
    await world.issue(NAME)
    tried: list[SigningKey] = []

    async def accepts(_connector: Connector, _container: Container, tried_with: SigningKey) -> bool:
        tried.append(tried_with)
        return tried_with.expires > world.clock() and not world.cloud.revoked

    monkeypatch.setattr(world.cloud, "accepts", accepts)
    world.cloud.acts_on_orders = False
    await world.revoke(through="")
    await world.revoking.keys.look(at_once=True)
    world.clock.now += 20
    for _ in range(3):
        await world.revoking.keys.look(at_once=True)
    assert len(tried) > 1
    keys = world.made.keys[0]
    assert world.made.state_of(keys, world.clock()) is KeyRevocationState.REVOKING
    world.cloud.revoke_keys(keys.revoked_at)
    await world.until(RevocationState.REVOKED)
