"""Credentials that the broker has made, on the stand-in for Entra and Azure, and on a real Azurite that checks keys."""

import asyncio
import time
from typing import Any

import pytest

from support.azure_stack import CLIENT, ML, PLANTED, TENANT, AzureStack
from support.core import PLANTED as REGISTERED
from support.rotating_replica import NAME, PATH, RotatingReplica, by_account_key, the_call
from valetkey_broker.adapters.azure.auth_methods.account_key import AccountKey
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.connectors.made_credential_rotations import Automatic
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import (
    Credential,
    Event,
    EventKind,
    Rotation,
    RotationState,
    Secret,
)

BY_KEY = "by-key"


class World(RotatingReplica):
    """A replica on the stand-in, with the connector that is rotated."""

    def __init__(self, azure: AzureStack) -> None:
        cloud: Any = azure.cloud
        super().__init__(cloud=cloud)
        self.clock.now = time.time()
        self.azure = azure
        azure.control_plane.account_keys.holder = azure.azurite
        azure.control_plane.add_secret(Secret(REGISTERED))

    def ours(self) -> list[str]:
        """Returns the display names of the secrets in Entra, but for those that were there."""
        there = self.azure.control_plane.passwords.there()
        return [each.display_name for each in there if each.display_name not in (None, "by hand")]

    def waits(self, name: str) -> bool:
        """Tells whether a rotation waits for the end of what the old credential signed."""
        there = self.memory.rotations.get(f"rotations/{name}")
        return there is not None and there.state is RotationState.WAITING

    async def rotated(self, name: str = NAME, **wanted: Any) -> Rotation:
        """Rotates, and returns how that ended."""
        await self.automatic.rotate(f"connectors/{name}", Automatic(prove_seconds=120, **wanted), the_call())
        async with asyncio.timeout(120):
            while not (rotation := await self.rotating.rotations.get(f"connectors/{name}")).state.ended:
                await self.poll()
                await asyncio.sleep(0.02)
        return rotation


@pytest.fixture
async def world(azure: AzureStack) -> World:
    world = World(azure)
    await world.register(tenant_id=TENANT, client_id=CLIENT, storage_account=ML)
    return world


async def test_a_secret_that_is_late_and_then_works_on_every_second_try(world: World) -> None:
    """It is brought into use once it works steadily, and the broker's own from before goes."""
    first = await world.rotated()
    assert first.state is RotationState.DONE
    passwords = world.azure.control_plane.passwords
    passwords.works_after, passwords.every_second_try = 1.0, True

    async def gets_around() -> None:
        await asyncio.sleep(2.0)
        passwords.every_second_try = False
        for each in passwords.there():
            each.every_second_try = False

    around = asyncio.create_task(gets_around())
    second = await world.rotated()
    await around
    assert (second.state, second.to_version) == (RotationState.DONE, 3)
    assert world.ours() == [f"valetkey {second.object_uid} {second.id}"]
    value = await world.in_use()
    assert isinstance(value, ClientSecret)
    assert passwords.find(value.client_secret).key_id == second.notes["key_id"]


async def test_an_answer_that_is_lost_leaves_one_secret(world: World) -> None:
    """Made, then the connection broke: the one whose value nobody knows is gone in the end, listed late or not."""
    world.azure.control_plane.passwords.listed_after = 0.3
    world.azure.control_plane.lose("add-password", times=1)
    ended = await world.rotated()
    assert ended.state is RotationState.DONE
    assert world.azure.control_plane.requests["add-password"] == 2
    made = world.azure.control_plane.passwords
    async with asyncio.timeout(60):
        while len(made.listed()) < len(made.there()):  # noqa: ASYNC110 (the stand-in's clock, which may be slower)
            await asyncio.sleep(0.05)
    world.azure.control_plane.fail("remove-password", 429, retry_after=0.2, times=1)
    again = await world.rotated()
    assert again.state is RotationState.DONE
    assert world.ours() == [f"valetkey {again.object_uid} {again.id}"]


async def test_with_a_clock_16_minutes_off(world: World) -> None:
    """Nothing of it compares the broker's clock with Entra's, which is behind; Azurite has this machine's."""
    world.azure.control_plane.ahead = -960.0
    assert (await world.rotated()).state is RotationState.DONE


async def test_forbidden(world: World) -> None:
    """The permission is named before anything begins."""
    world.azure.control_plane.graph.owned = False
    with pytest.raises(BrokerError) as caught:
        await world.automatic.rotate(PATH, Automatic(), the_call())
    assert caught.value.reason is Reason.CLOUD_PERMISSION_MISSING
    assert "Application.ReadWrite.OwnedBy" in caught.value.message


async def test_account_keys_by_another_connector(world: World) -> None:
    """Storage refuses the old key at the end and takes the new one; what was signed before works until then."""
    old = world.azure.azurite.accounts[ML]
    new = by_account_key(BY_KEY, ML, old)
    connector = (await world.connector_admin.create(new, created_by="key:ops"))[0]
    ends = world.clock.now + 600
    lease = {"connector": BY_KEY, "credential_version": 1, "expires": int(ends), "lease_id": "lease"}
    await world.ledger.record(Event(kind=EventKind.TOKEN_ISSUED, time=world.clock.now, **lease))  # type: ignore[arg-type]
    rotating = asyncio.create_task(world.rotated(BY_KEY, by=NAME))
    async with asyncio.timeout(120):
        while not world.waits(BY_KEY):  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.02)
    await world.cloud.log_in(connector, Credential(1, AccountKey(old)))
    world.clock.now = ends + 30
    assert (await rotating).state is RotationState.DONE
    with pytest.raises(BrokerError) as caught:
        await world.cloud.log_in(connector, Credential(1, AccountKey(old)))
    assert caught.value.reason is Reason.CLOUD_CREDENTIAL_REJECTED
    await world.cloud.log_in(connector, Credential(2, await world.in_use(BY_KEY)))
    assert PLANTED.reveal() not in str(world.ledger.recorded)
