"""Ends of client secrets that Microsoft Graph tells: of the one in use, by whose rights, and what is said of it."""

from datetime import UTC, datetime, timedelta

import pytest

from support.core import CLIENT, NOW, PLANTED, make_secret, make_sharing_connector
from support.fake_maker import FakeMaker
from support.rotating_replica import NAME, PATH, RotatingReplica, by_account_key, the_call
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.connectors.made_credential_rotations import Automatic
from valetkey_broker.errors import Reason
from valetkey_broker.expiry.client_secret_endings import GraphEndings
from valetkey_broker.expiry.endings import Endings
from valetkey_broker.expiry.stored_endings import StoredEndings
from valetkey_broker.model import Secret
from valetkey_broker.model.ending import Ending, EndingKind

ENDS = datetime.fromtimestamp(NOW, UTC) + timedelta(days=40)


class World(RotatingReplica):
    """A replica whose service principal may read its application, unless the maker is told to fail."""

    def __init__(self) -> None:
        self.maker = FakeMaker(CLIENT, Secret(PLANTED), ["one"])
        super().__init__(maker=self.maker)
        self.cloud.secrets = None
        self.maker.ends["by-hand"] = ENDS
        stored = StoredEndings(self.memory, AUTH_METHODS, self.repository.known_credential)
        self.graph = GraphEndings(self.maker, self.rotating.objects, self.clock)
        self.endings = Endings([stored], self.clock)
        self.endings.add(self.graph)

    async def one(self, kind: EndingKind = EndingKind.CONNECTOR) -> Ending:
        (found,) = [each for each in await self.endings.all() if each.kind is kind]
        return found


@pytest.fixture
async def world() -> World:
    world = World()
    await world.register()
    return world


async def test_graph_tells_what_nobody_noted_down(world: World) -> None:
    """With the command that mends it; asked once for hours, whatever else is asked for."""
    found = await world.one()
    assert (found.ends_at, found.known_by) == (ENDS, "Microsoft Graph")
    assert found.mend == f"valetkey service-connector rotate {NAME} --auto"
    await world.one()
    assert world.maker.calls["passwords"] == 1


async def test_where_graph_does_not_tell_what_was_noted_down_counts(world: World) -> None:
    """Forbidden is nobody's failure; it is asked again after a while."""
    world.maker.fail("passwords", Reason.CLOUD_PERMISSION_MISSING)
    assert (await world.one()).mend == f"valetkey service-connector update {NAME} --expires-at DATE"
    assert (await world.one()).ends_at is None
    assert world.maker.calls["passwords"] == 1
    world.clock.now = NOW + 901
    assert (await world.one()).ends_at == ENDS


async def test_the_secret_in_use_counts_and_not_those_beside_it(world: World) -> None:
    """After a rotation by itself it is told by its id, though another begins like it."""
    await world.one()
    rotation = await world.automatic.rotate(PATH, Automatic(), the_call())
    await world.ended()
    key_id = world.memory.rotations[rotation.path].notes["key_id"]
    value = world.maker.made[key_id][1]
    world.maker.made["like-it"] = ("by hand", Secret(f"{value.reveal()[:3]}another"))
    world.maker.ends["like-it"] = ENDS - timedelta(days=39)
    assert await world.graph() == [
        Ending(
            EndingKind.CONNECTOR,
            NAME,
            world.maker.ends[key_id],
            "Microsoft Graph",
            f"valetkey service-connector rotate {NAME} --auto",
        )
    ]


async def test_a_named_secret_is_asked_for_once_and_account_keys_never(world: World) -> None:
    """The connectors that use it are not asked for; keys of accounts have no end, and Graph knows nothing of them."""
    secret = await world.repository.create_secret(make_secret(), ClientSecret(Secret(PLANTED)))
    await world.repository.create_sharing_connector(make_sharing_connector(secret, "first"))
    await world.connector_admin.create(
        by_account_key("by-key", "one", world.maker.keys["one"]["key1"]), created_by="key:ops"
    )
    found = await world.one(EndingKind.SECRET)
    assert (found.name, found.ends_at, found.mend) == ("az_secret", ENDS, "valetkey secret rotate az_secret --auto")
    assert world.maker.calls["passwords"] == 2
