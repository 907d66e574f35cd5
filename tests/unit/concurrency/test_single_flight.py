"""Single flight: one for all, belonging to none of them."""

import asyncio
import gc

import pytest

from valetkey_broker.concurrency.single_flight import FlightCancelledError, SingleFlight


class Work:
    """Work that ends when told to, and counts how often it was begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> str:
        self.begun += 1
        try:
            return await self.outcome
        finally:
            self.ended += 1


async def callers(flights: SingleFlight[str, str], work: Work, number: int, key: str = "a") -> list[asyncio.Task[str]]:
    """Returns so many callers that wait for the flight."""
    tasks = [asyncio.create_task(flights.run(key, work)) for _ in range(number)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


@pytest.fixture
async def complaints() -> list[str]:
    """Returns the list of what asyncio complains about from now on."""
    heard: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["message"]))
    return heard


async def test_all_callers_get_the_outcome_of_one_flight() -> None:
    """Protects Azure and Vault from a herd of callers who want the same thing."""
    flights, work = SingleFlight[str, str]("test"), Work()
    tasks = await callers(flights, work, 50)
    assert "a" in flights
    assert flights.active() == ("a",)
    work.outcome.set_result("key")
    assert await asyncio.gather(*tasks) == ["key"] * 50
    assert work.begun == 1
    assert "a" not in flights


async def test_keys_fly_apart() -> None:
    """Protects one connector's callers from waiting for, or getting, what another's asked for."""
    flights, first, second = SingleFlight[str, str]("test"), Work(), Work()
    (one,), (other,) = await callers(flights, first, 1, "a"), await callers(flights, second, 1, "b")
    second.outcome.set_result("b's")
    assert await other == "b's"
    first.outcome.set_result("a's")
    assert await one == "a's"


async def test_a_result_is_not_kept() -> None:
    """Protects freshness: what to keep, and for how long, is for the cache behind the flight to say."""
    flights, work = SingleFlight[str, str]("test"), Work()
    work.outcome.set_result("key")
    await flights.run("a", work)
    await flights.run("a", work)
    assert work.begun == 2


async def test_one_cancelled_caller_leaves_the_flight_to_the_others() -> None:
    """Protects the many from the one who hangs up."""
    flights, work = SingleFlight[str, str]("test"), Work()
    impatient, patient = await callers(flights, work, 2)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert not work.ended
    work.outcome.set_result("key")
    assert await patient == "key"


async def test_a_flight_that_all_have_left_goes_on_and_can_be_joined() -> None:
    """Protects work that must not be cut in two, such as a log-in, and callers with short deadlines who try again."""
    flights, work = SingleFlight[str, str]("test"), Work()
    for caller in await callers(flights, work, 2):
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
    (late,) = await callers(flights, work, 1)
    work.outcome.set_result("key")
    assert await late == "key"
    assert work.begun == 1


async def test_an_error_reaches_all_callers_and_is_not_kept() -> None:
    """Protects recovery: those who waited hear why, and the next one tries again."""
    flights, failing, working = SingleFlight[str, str]("test"), Work(), Work()
    tasks = await callers(flights, failing, 3)
    error = ValueError("away")
    failing.outcome.set_exception(error)
    assert await asyncio.gather(*tasks, return_exceptions=True) == [error] * 3
    working.outcome.set_result("key")
    assert await flights.run("a", working) == "key"


async def test_an_error_that_nobody_waited_for_is_marked_as_seen(complaints: list[str]) -> None:
    """Protects the log from asyncio's complaints, which come late and name no cause."""
    flights, left, alone = SingleFlight[str, str]("test"), Work(), Work()
    (caller,) = await callers(flights, left, 1)
    caller.cancel()
    flights.start("b", alone)
    left.outcome.set_exception(ValueError("away"))
    alone.outcome.set_exception(ValueError("away"))
    await asyncio.gather(caller, return_exceptions=True)
    for _ in range(3):
        await asyncio.sleep(0)
    assert flights.active() == ()
    del left, alone, caller
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_a_cancelled_flight_does_not_look_like_a_cancelled_caller() -> None:
    """Protects callers: a CancelledError would end their own task in silence."""
    flights, work = SingleFlight[str, str]("test"), Work()
    tasks = await callers(flights, work, 2)
    flights.cancel("a")
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [FlightCancelledError] * 2


async def test_a_new_flight_may_begin_while_a_cancelled_one_still_ends() -> None:
    """Protects a connector made anew from the end of its predecessor's flight."""
    flights, old, new = SingleFlight[str, str]("test"), Work(), Work()
    (caller,) = await callers(flights, old, 1)
    flights.cancel("a")
    flights.cancel("a")
    (other,) = await callers(flights, new, 1)
    await asyncio.gather(caller, return_exceptions=True)
    assert "a" in flights
    new.outcome.set_result("key")
    assert await other == "key"


async def test_start_joins_a_flight_and_leaves_nobody_waiting() -> None:
    """Protects renewals in the background: they begin once, and callers may join them."""
    flights, work = SingleFlight[str, str]("test"), Work()
    task = flights.start("a", work)
    assert flights.start("a", work) is task
    (caller,) = await callers(flights, work, 1)
    work.outcome.set_result("key")
    assert await caller == "key"
    assert work.begun == 1


async def test_close_waits_until_all_flights_have_ended() -> None:
    """Protects the order of closing: nothing flies on into a client that is closed."""
    flights, works = SingleFlight[str, str]("test"), [Work(), Work()]
    tasks = [(await callers(flights, work, 1, str(key)))[0] for key, work in enumerate(works)]
    await flights.close()
    assert [work.ended for work in works] == [1, 1]
    assert flights.active() == ()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [FlightCancelledError] * 2


async def test_settle_lets_flights_end_by_themselves() -> None:
    """Protects work that must not be cut off at the end of the broker, such as a log-in that leaves a token behind."""
    flights, work = SingleFlight[str, str]("test"), Work()
    (caller,) = await callers(flights, work, 1)
    settling = asyncio.create_task(flights.settle())
    await asyncio.sleep(0)
    assert not settling.done()
    work.outcome.set_result("key")
    await settling
    assert await caller == "key"
