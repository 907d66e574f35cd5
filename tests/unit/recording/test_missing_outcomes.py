"""Changes begun on record whose process died before it wrote anything: they were not made, and the ledger says so."""

from dataclasses import replace

import pytest

from support.core import NOW, FakeClock
from support.fake_ledger import FakeLedger
from valetkey_broker.model import Event, EventFilter, EventKind
from valetkey_broker.recording import MissingOutcomes

BEGUN = Event(
    kind=EventKind.CHANGE_BEGUN,
    time=NOW - 10_000,
    request_id="call-1",
    method="/valetkey.v1.GrantService/UpdateGrant",
    principal="key:admin",
    object="grants/training",
)


class World:
    """A ledger with a change that was begun, and the paths that have an intent."""

    def __init__(self) -> None:
        self.ledger = FakeLedger()
        self.intents: set[str] = set()

    async def under_way(self) -> set[str]:
        return self.intents

    def looking(self, watched_seconds: float) -> MissingOutcomes:
        return MissingOutcomes(self.ledger, FakeClock(), self.under_way, watched_seconds=watched_seconds)

    async def unfinished(self) -> int:
        return len(await self.ledger.events(EventFilter(unfinished=True)))


@pytest.fixture
async def world() -> World:
    world = World()
    await world.ledger.record(BEGUN)
    return world


async def test_what_was_never_made_gets_its_outcome(world: World) -> None:
    """It names the call and the object, and is recorded once."""
    looking = world.looking(0)
    await looking.look()
    await looking.look()
    (outcome,) = world.ledger.of(EventKind.CHANGE_RECONCILED)
    assert (outcome.reason, outcome.time) == ("NOT_MADE", NOW)
    assert (outcome.request_id, outcome.method, outcome.principal, outcome.object) == (
        BEGUN.request_id,
        BEGUN.method,
        BEGUN.principal,
        BEGUN.object,
    )
    assert await world.unfinished() == 0


async def test_what_may_still_be_made_is_waited_for(world: World) -> None:
    """However old its record says that it is, clocks may differ: only what was watched for long enough counts."""
    looking = world.looking(3600)
    await looking.look()
    await looking.look()
    assert await world.unfinished() == 1


async def test_what_is_under_way_is_left_to_those_who_settle_it(world: World) -> None:
    """A change with an intent was perhaps made: what became of it, the intent's settling tells."""
    world.intents.add("grants/training")
    looking = world.looking(0)
    await looking.look()
    assert await world.unfinished() == 1
    world.intents.clear()
    await world.ledger.record(replace(BEGUN, kind=EventKind.ADMIN_CHANGE))
    await looking.look()
    assert world.ledger.of(EventKind.CHANGE_RECONCILED) == []


async def test_what_may_have_been_made_is_not_called_not_made(world: World) -> None:
    """An outcome on record as not known is unfinished, and only its intent's settling may say what it was."""
    await world.ledger.record(replace(BEGUN, kind=EventKind.ADMIN_CHANGE, reason="INTERNAL"))
    await world.looking(0).look()
    assert world.ledger.of(EventKind.CHANGE_RECONCILED) == []
    assert await world.unfinished() == 1


async def test_what_an_earlier_version_left_is_left(world: World) -> None:
    """Without intents a change could be made and its record be missing: nobody can tell."""
    world.ledger._stored = [replace(stored, form=1) for stored in world.ledger._stored]
    await world.looking(0).look()
    assert await world.unfinished() == 1
