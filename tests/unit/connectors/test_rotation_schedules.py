"""Rotations by a schedule: begun when they are due, by one replica, and again after a while where they fail."""

from datetime import UTC, datetime

import pytest

from support.core import CLIENT, NOW, PLANTED, make_secret, make_sharing_connector
from support.fake_cloud import FakeCloud
from support.fake_maker import FakeMaker
from support.rotating_replica import NAME, PATH, RotatingReplica
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import EventKind, InvalidFieldError, RotationSchedule, RotationState, Secret

DAY = 86_400
MONTHLY = RotationSchedule(30 * DAY)


class World(RotatingReplica):
    """A replica whose provider makes what its cloud takes."""

    def __init__(self, beside: "World | None" = None) -> None:
        self.maker: FakeMaker = beside.maker if beside else FakeMaker(CLIENT, Secret(PLANTED))
        parts = (beside.replica.store, beside.cloud, beside.ledger) if beside else (None, None, None)
        super().__init__(*parts, maker=self.maker)
        assert isinstance(self.cloud, FakeCloud)
        self.cloud.secrets = None  # What works where is not this file's.

    async def look(self, days: float) -> None:
        """Has the schedule looked at, so many days after the connector was registered."""
        self.clock.now = NOW + days * DAY
        await self.poll()
        await self.rotating.schedules.look()

    def made(self) -> int:
        return self.maker.calls["add_password"]


@pytest.fixture
async def world() -> World:
    world = World()
    await world.register()
    await world.rotating.schedules.set(PATH, MONTHLY)
    return world


async def test_it_rotates_when_it_is_due_and_not_before(world: World) -> None:
    """A month after it was registered, and again a month after it was rotated."""
    await world.look(29.9)
    assert world.made() == 0
    await world.look(30.1)
    first = await world.ended()
    assert (first.state, first.started_by) == (RotationState.DONE, "broker:schedule")
    await world.look(60.0)
    assert world.made() == 1
    await world.look(60.2)
    assert (await world.ended()).id != first.id
    assert world.made() == 2


async def test_it_is_on_record_that_the_schedule_did_it(world: World) -> None:
    """Begun and done, by the schedule."""
    await world.look(31)
    await world.ended()
    kinds = [event.kind for event in world.ledger.recorded if event.object == f"rotations/{NAME}"]
    assert kinds[:2] == [EventKind.CHANGE_BEGUN, EventKind.ADMIN_CHANGE]
    assert {event.principal for event in world.ledger.recorded} == {"broker:schedule"}


async def test_two_replicas_begin_it_once(world: World) -> None:
    """Whoever is second finds it under way, or done."""
    other = World(world)
    await other.poll()
    other.clock.now = world.clock.now = NOW + 31 * DAY
    await world.rotating.schedules.look()
    await other.rotating.schedules.look()
    await world.ended()
    await other.rotating.schedules.look()
    assert world.made() == 1


async def test_one_that_fails_is_tried_again_after_a_while(world: World) -> None:
    """Not at once, and long before the next month."""
    world.maker.fail("add_password", Reason.CLOUD_REQUEST_REFUSED, times=2)
    await world.look(31)
    assert (await world.ended()).state is RotationState.FAILED
    await world.look(31.01)
    assert world.made() == 1
    await world.look(31.1)
    assert (await world.ended()).state is RotationState.FAILED
    assert world.made() == 2
    world.maker.fail("passwords", Reason.CLOUD_PERMISSION_MISSING)
    await world.look(31.2)
    await world.look(31.21)
    assert world.made() == 2, "what cannot begin waits too"
    await world.look(31.3)
    assert (await world.ended()).state is RotationState.DONE


async def test_the_schedule_stays_over_rotations_and_goes_when_told(world: World) -> None:
    """It is kept in Vault with the connector."""
    await world.look(31)
    await world.ended()
    other = World(world)
    await other.poll()
    assert other.memory.connectors[NAME].rotation_schedule == MONTHLY
    await world.rotating.schedules.set(PATH, None)
    await world.look(100)
    assert world.made() == 1
    assert world.memory.connectors[NAME].rotation_schedule is None


async def test_a_named_secret_is_rotated_for_all_that_use_it(world: World) -> None:
    """Counted from its last value, and kept through one that was being proved while it was set."""
    repository = world.replica.repository
    secret = await repository.create_secret(make_secret(), ClientSecret(Secret(PLANTED)))
    await repository.create_sharing_connector(make_sharing_connector(secret, "first"))
    await world.rotating.schedules.set("secrets/az_secret", MONTHLY)
    await repository.update_secret(secret, secret, ClientSecret(Secret("another")), verified=None)
    other = World(world)
    await other.poll()
    assert other.memory.secrets["az_secret"].rotation_schedule == MONTHLY
    await world.rotating.schedules.set(PATH, None)
    await world.look(29)
    assert world.made() == 0
    await world.look(31)
    ended = await world.ended("secrets/az_secret")
    assert (ended.state, ended.started_by) == (RotationState.DONE, "broker:schedule")
    assert await world.in_use("first") == ClientSecret(world.maker.made[ended.notes["key_id"]][1])
    assert world.memory.secrets["az_secret"].rotation_schedule == MONTHLY
    await world.rotating.schedules.set("secrets/az_secret", None)
    await world.look(100)
    assert world.made() == 1
    with pytest.raises(BrokerError, match="valetkey secret rotate az_secret"):
        await world.rotating.schedules.set("connectors/first", MONTHLY)


async def test_the_secret_outlives_the_time_between_two_rotations(world: World) -> None:
    """A schedule of 200 days makes secrets that are good for 400."""
    await world.rotating.schedules.set(PATH, RotationSchedule(200 * DAY))
    await world.look(201)
    await world.ended()
    ends = world.memory.connectors[NAME].expires_at
    assert ends is not None
    assert (ends - datetime.fromtimestamp(NOW + 201 * DAY, UTC)).days in (399, 400)


async def test_what_cannot_be_is_refused_when_it_is_set(world: World) -> None:
    """Too often, no such connector, and a provider that does not let the broker look."""
    with pytest.raises(InvalidFieldError, match="every: is no time for that"):
        await world.rotating.schedules.set(PATH, RotationSchedule(5))
    with pytest.raises(BrokerError, match="no connector is named nobody"):
        await world.rotating.schedules.set("connectors/nobody", MONTHLY)
    world.maker.fail("passwords", Reason.CLOUD_PERMISSION_MISSING)
    with pytest.raises(BrokerError) as caught:
        await world.rotating.schedules.set(PATH, RotationSchedule(DAY))
    assert caught.value.reason is Reason.CLOUD_PERMISSION_MISSING
    assert world.memory.connectors[NAME].rotation_schedule == MONTHLY
    assert PATH not in world.memory.rotations


async def test_what_nobody_thought_of_ends_no_schedules(world: World) -> None:
    """One that fails in an odd way is tried again later, and the look goes on: rotations run beside it."""
    asked = world.maker.passwords

    async def odd(*_arguments: object) -> None:
        world.maker.passwords = asked  # type: ignore[method-assign]
        raise RuntimeError("odd")

    world.maker.passwords = odd  # type: ignore[assignment,method-assign]
    await world.look(31)
    assert world.made() == 0
    await world.look(31 + 2 / 24)
    assert (await world.ended()).state is RotationState.DONE
