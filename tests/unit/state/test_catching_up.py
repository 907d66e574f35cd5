"""How calls have memory catch up with Vault: who waits for which reading, and how many there are of them."""

import asyncio

import pytest

from support.core import FakeClock, Replica, make_api_key
from support.fake_store import FakeStateStore
from support.waiting import eventually
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.state.catching_up import CatchingUp

_AWAY = BrokerError(Reason.VAULT_UNAVAILABLE, "away", {"cause": "sealed"})


class Readings:
    """Counts readings; each goes on until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.at_once = 0
        self.gate = asyncio.Event()
        self.clock = FakeClock()
        self.catching_up = CatchingUp(self._read, self.clock)

    async def _read(self) -> None:
        self.begun += 1
        self.at_once += 1
        assert self.at_once == 1, "one reading at a time"
        await self.gate.wait()
        self.at_once -= 1


async def test_a_call_knows_what_another_replica_did_before_it() -> None:
    """Who made a key at one replica finds it at another, which has not polled since."""
    store = FakeStateStore()
    one, other = Replica(store), Replica(store)
    await other.repository.load()
    await one.repository.create_api_key(make_api_key())
    assert "trainer" not in other.memory.keys_by_name
    await other.repository.catching_up.now()
    assert "trainer" in other.memory.keys_by_name


async def test_who_comes_while_a_reading_goes_on_waits_for_the_next() -> None:
    """It may have looked before what they know of was written; all of them share one."""
    readings = Readings()
    first = asyncio.create_task(readings.catching_up.now())
    await eventually(lambda: readings.begun == 1)
    late = [asyncio.create_task(readings.catching_up.now()) for _ in range(50)]
    readings.gate.set()
    await asyncio.gather(first, *late)
    assert readings.begun == 2


async def test_a_caller_who_hangs_up_leaves_the_reading_to_the_others() -> None:
    """One who goes away does not take away what others wait for."""
    readings = Readings()
    impatient, patient = (asyncio.create_task(readings.catching_up.now()) for _ in range(2))
    await eventually(lambda: readings.begun == 1)
    impatient.cancel()
    await asyncio.wait([impatient])
    assert not patient.done()
    readings.gate.set()
    await patient
    assert readings.begun == 1


async def test_what_anybody_can_cause_is_bounded() -> None:
    """A flood of refusals costs Vault twenty readings, and ten a second from then on."""
    readings = Readings()
    readings.gate.set()
    for _ in range(200):
        await readings.catching_up.in_bounds()
    assert readings.begun == 20
    readings.clock.now += 1
    for _ in range(200):
        await readings.catching_up.in_bounds()
    assert readings.begun == 30
    await readings.catching_up.now()
    assert readings.begun == 31, "those with a role are not kept from it by the others"


@pytest.mark.parametrize("error", [_AWAY, RuntimeError("broken")])
async def test_calls_go_on_from_memory_where_vault_does_not_answer(error: Exception) -> None:
    """Nobody is refused a look at what is in memory because Vault is away, nor later because it was."""
    failing = [error]

    async def read() -> None:
        if failing:
            raise failing.pop()

    catching_up = CatchingUp(read)
    await catching_up.now()
    assert not failing
    await catching_up.now()


async def test_nobody_waits_for_a_vault_that_is_away() -> None:
    """While polls fail, calls are answered from memory at once: what hangs would keep each of them waiting."""
    readings = Readings()
    readings.catching_up.vault_away = True
    await readings.catching_up.now()
    await readings.catching_up.in_bounds()
    assert readings.begun == 0


async def test_who_waits_is_let_go_once_vault_is_found_to_be_away() -> None:
    """Where Vault hangs, a poll says so long before the reading that is under way, and the next, have given up."""
    readings = Readings()
    catching_up = readings.catching_up
    first = asyncio.create_task(catching_up.now())
    await eventually(lambda: readings.begun == 1)
    late = asyncio.create_task(catching_up.in_bounds())
    await asyncio.sleep(0)
    catching_up.vault_away = True
    await asyncio.gather(first, late)
    catching_up.vault_away = False
    back = [asyncio.create_task(catching_up.now()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in back), "who comes once it is back is told what it says"
    readings.gate.set()
    await asyncio.gather(*back)
    assert readings.begun == 2


async def test_few_of_those_whom_anybody_can_cause_wait_at_a_time() -> None:
    """A flood of unknown keys while Vault hangs holds some calls, and leaves the others to those who are known."""
    readings = Readings()
    flood = [asyncio.create_task(readings.catching_up.in_bounds()) for _ in range(1000)]
    await eventually(lambda: sum(task.done() for task in flood) == 800)
    known = asyncio.create_task(readings.catching_up.now())
    await eventually(lambda: readings.begun == 1)
    assert not known.done()
    readings.gate.set()
    await asyncio.gather(known, *flood)


async def test_closing_ends_what_is_under_way() -> None:
    """A broker that stops waits for no reading, and leaves none behind."""
    readings = Readings()
    waiting = [asyncio.create_task(readings.catching_up.now())]
    await eventually(lambda: readings.begun == 1)
    waiting.append(asyncio.create_task(readings.catching_up.now()))
    await asyncio.sleep(0)
    await readings.catching_up.close()
    await asyncio.gather(*waiting)
    assert readings.begun == 1
