"""Refusals: each of the first is on record by itself, a burst as a sum, and none is lost or counted twice."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from support.core import NOW, FakeClock
from support.fake_ledger import FakeLedger, ledger_down
from support.ledgers import denied
from valetkey_broker.model import Event, EventKind
from valetkey_broker.recording import Refusals


def refused(**fields: Any) -> Event:
    return denied(**{"method": "/valetkey.v1.TokenService/IssueToken", "peer": "192.0.2.7", **fields})


def total(ledger: FakeLedger) -> int:
    return sum(event.count for event in ledger.recorded)


class World:
    """Refusals with a ledger to look at and a clock that stands still."""

    def __init__(self) -> None:
        self.ledger = FakeLedger()
        self.clock = FakeClock()
        self.refusals = Refusals(self.ledger, self.clock)


@pytest.fixture
def world() -> World:
    return World()


async def test_few_are_recorded_as_they_are(world: World) -> None:
    """Nothing is summed up that comes at a human pace."""
    events = [refused(request_id=f"r{number}") for number in range(20)]
    for event in events:
        await world.refusals.record(event)
    assert world.ledger.recorded == events


async def test_a_burst_is_summed_up(world: World) -> None:
    """Ten thousand of a kind are 21 records that add up to ten thousand; the sum has the request id of the first."""
    for number in range(10_000):
        await world.refusals.record(refused(request_id=f"r{number}"))
    assert len(world.ledger.recorded) == 20
    await world.refusals.flush()
    assert [event.count for event in world.ledger.recorded[20:]] == [9_980]
    assert world.ledger.recorded[20].request_id == "r20"
    await world.refusals.flush()
    assert total(world.ledger) == 10_000


@pytest.mark.parametrize(
    "other",
    [
        {"principal": "key:other"},
        {"reason": "ROLE_REQUIRED"},
        {"method": "/valetkey.v1.TokenService/WatchToken"},
        {"kind": EventKind.AUTHENTICATION_FAILED},
        {"principal": "", "peer": "192.0.2.8"},
    ],
    ids=["principal", "reason", "method", "kind", "peer"],
)
async def test_different_ones_are_not_mixed(world: World, other: dict[str, Any]) -> None:
    """A refusal that differs in what matters is on record by itself in the middle of a burst."""
    for _ in range(100):
        await world.refusals.record(refused())
    event = refused(**other)
    await world.refusals.record(event)
    assert world.ledger.recorded[-1] == event


async def test_a_principal_is_one_from_wherever_it_calls(world: World) -> None:
    """Whoever is known is counted by name: calling from many addresses does not fill the ledger."""
    for number in range(1000):
        await world.refusals.record(refused(peer=f"192.0.2.{number}"))
    assert len(world.ledger.recorded) == 20


async def test_a_burst_from_ever_new_addresses(world: World) -> None:
    """Ten thousand addresses at once: the ledger grows by some hundreds, memory by a thousand; all are counted."""
    for number in range(10_000):
        await world.refusals.record(refused(principal="", peer=f"10.0.{number // 256}.{number % 256}"))
    assert len(world.ledger.recorded) == 500
    assert len(world.refusals._unknown.sums) == 1001
    await world.refusals.flush()
    assert len(world.ledger.recorded) == 1501
    assert total(world.ledger) == 10_000
    # The sum of those that nobody counted apart names none of them.
    (rest,) = (event for event in world.ledger.recorded if event.count > 1)
    assert (rest.count, rest.peer, rest.resource, rest.reason) == (8_500, "", "", "RESOURCE_DENIED")


async def test_a_sum_says_only_what_was_true_of_all(world: World) -> None:
    """Whoever probes many containers in a burst is not on record as having asked for the first one again and again."""
    for number in range(100):
        await world.refusals.record(
            refused(
                resource=f"az://c{number}",
                object=f"grants/{number}",
                connector=f"connector-{number}",
                permissions="rl" if number % 2 else "r",
                purpose="the same",
                peer=f"192.0.2.{number}",
            )
        )
    await world.refusals.flush()
    told = world.ledger.recorded[-1]
    assert (told.count, told.principal, told.purpose) == (80, "key:stranger", "the same")
    assert (told.resource, told.object, told.connector, told.permissions, told.peer) == ("", "", "", "", "")


async def test_a_sum_of_the_same_says_all_of_it(world: World) -> None:
    """A pipeline gone wild is on record with what it goes on asking for."""
    event = refused(resource="az://secret", permissions="rl", connector="azure-blob-demo", purpose="run 17")
    for _ in range(100):
        await world.refusals.record(event)
    await world.refusals.flush()
    assert world.ledger.recorded[-1] == replace(event, count=80)


async def test_one_network_of_ipv6_is_one(world: World) -> None:
    """Whoever has a /64 cannot fill the ledger with its addresses; the sum names the network, not one address."""
    for number in range(1000):
        await world.refusals.record(refused(principal="", peer=f"2001:db8::{number:x}"))
    await world.refusals.record(refused(principal="", peer="2001:db8:0:1::1"))
    await world.refusals.flush()
    *_, other, told = world.ledger.recorded
    assert len(world.ledger.recorded) == 22
    assert (told.count, told.peer) == (980, "2001:db8::/64")
    assert other.peer == "2001:db8:0:1::1"


async def test_a_flood_without_credentials_hides_no_names(world: World) -> None:
    """However many strangers knock, a principal that is refused is on record by name, alone or in a sum."""
    for number in range(10_000):
        await world.refusals.record(refused(principal="", peer=f"10.0.{number // 256}.{number % 256}"))
    event = refused(principal="key:insider", resource="az://payroll")
    for _ in range(100):
        await world.refusals.record(event)
    await world.refusals.flush()
    named = [recorded for recorded in world.ledger.recorded if recorded.principal == "key:insider"]
    assert named == [event] * 20 + [replace(event, count=80)]
    assert total(world.ledger) == 10_100


async def test_after_a_burst_things_are_as_before(world: World) -> None:
    """Once it is quiet again, refusals are recorded one by one."""
    for _ in range(100):
        await world.refusals.record(refused())
    await world.refusals.flush()
    world.clock.now = NOW + 300
    event = refused(request_id="later")
    await world.refusals.record(event)
    assert world.ledger.recorded[-1] == event


async def test_the_ledger_is_away(world: World) -> None:
    """A refusal stands while the ledger is away, and is on record once it is back, in bounded memory."""
    world.ledger.fail_with = ledger_down()
    for number in range(3000):
        await world.refusals.record(refused(principal=f"key:{number % 1500}"))
    await world.refusals.flush()
    assert not world.ledger.recorded
    assert len(world.refusals._known.sums) <= 1001
    world.ledger.fail_with = None
    await world.refusals.flush()
    assert total(world.ledger) == 3000


class SlowLedger(FakeLedger):
    """Takes what it is given at once, as the real one does, and answers when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = asyncio.Event()

    async def record(self, *events: Event) -> None:
        await super().record(*events)
        await self.answer.wait()


async def flushing(refusals: Refusals, ready: Callable[[], bool]) -> asyncio.Task[None]:
    task = asyncio.create_task(refusals.flush())
    while not ready():  # noqa: ASYNC110 (the fake has no event to offer)
        await asyncio.sleep(0)
    return task


async def test_sums_are_written_in_one_go() -> None:
    """A slow ledger is given all sums at once, so that it can make one transaction of them."""
    ledger = SlowLedger()
    ledger.answer.set()
    refusals = Refusals(ledger, FakeClock())
    for name in range(50):
        for _ in range(30):
            await refusals.record(refused(principal=f"key:{name}"))
    ledger.answer.clear()
    before = len(ledger.recorded)
    task = await flushing(refusals, lambda: len(ledger.recorded) == before + 50)
    ledger.answer.set()
    await task
    assert total(ledger) == 1500


@pytest.mark.parametrize("steps", range(4))
async def test_ended_while_writing(steps: int) -> None:
    """Whenever the broker ends, what was summed up is on record afterwards, once."""
    ledger = SlowLedger()
    ledger.answer.set()
    refusals = Refusals(ledger, FakeClock())
    for _ in range(100):
        await refusals.record(refused())
    ledger.answer.clear()
    task = asyncio.create_task(refusals.flush())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    ledger.answer.set()
    await refusals.flush()
    assert total(ledger) == 100


async def test_what_nobody_thought_of_is_written_later(world: World) -> None:
    """A refusal stands whatever its record meets, and is on record once that has passed."""

    def odd(_event: Event) -> None:
        raise RuntimeError("odd")

    world.ledger.before_record = odd
    await world.refusals.record(refused())
    await world.refusals.flush()
    assert total(world.ledger) == 0
    world.ledger.before_record = lambda _event: None
    await world.refusals.flush()
    assert total(world.ledger) == 1
