"""The time limit of calls, which sets a timer only where something waits."""

import asyncio

import pytest

from support.stopwatch import LEAST_SECONDS
from valetkey_broker.rpc.deadline import Deadlines


async def test_a_result_that_needs_no_waiting() -> None:
    """The hot path answers; a limit of nothing at all proves that no timer is set for it."""

    async def answer() -> int:
        return 42

    assert await Deadlines().within(0, answer()) == 42


@pytest.mark.parametrize("waits", [1, 2, 5])
async def test_a_result_after_waiting(waits: int) -> None:
    """What the coroutine waits for reaches it, however often it waits: plain yields and results of futures."""
    loop = asyncio.get_running_loop()

    async def answer() -> list[int]:
        got: list[int] = []
        for number in range(waits):
            await asyncio.sleep(0)
            future = loop.create_future()
            loop.call_soon(future.set_result, number)
            got.append(await future)
        return got

    assert await Deadlines().within(5, answer()) == list(range(waits))


@pytest.mark.parametrize("seconds", [0.01, 1.0])
async def test_too_late(seconds: float) -> None:
    """A coroutine that waits too long is ended, and can tidy up."""
    tidied: list[bool] = []

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append(True)

    with pytest.raises(TimeoutError):
        await Deadlines().within(seconds, never())
    assert tidied
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


@pytest.mark.parametrize("waits", [False, True])
async def test_errors(waits: bool) -> None:
    """Errors come through as they are, before the first wait and after."""

    async def fail() -> None:
        if waits:
            await asyncio.sleep(0)
        raise LookupError

    with pytest.raises(LookupError):
        await Deadlines().within(5, fail())


async def test_errors_of_what_is_waited_for() -> None:
    """A failure of the first thing waited for is the coroutine's to handle."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_exception, LookupError())

    async def handle() -> str:
        try:
            await future
        except LookupError:
            return "handled"
        return "not told"

    assert await Deadlines().within(5, handle()) == "handled"


async def test_many_limits_end_each_at_its_own_time() -> None:
    """One timer serves all: none ends early, none is forgotten, and none ends another's task."""
    deadlines, loop = Deadlines(), asyncio.get_running_loop()

    async def late(seconds: float) -> float:
        began = loop.time()
        with pytest.raises(TimeoutError):
            await deadlines.within(seconds, asyncio.Event().wait())
        return loop.time() - began - seconds

    async def in_time() -> str:
        await asyncio.sleep(1.3)
        return "done"

    waits = [late(seconds) for seconds in (1.0, 1.2, 1.4)]
    *delays, answer = await asyncio.gather(*waits, deadlines.within(5, in_time()))
    assert answer == "done"
    assert all(0 <= delay < LEAST_SECONDS for delay in delays)  # A tenth of a second, and what a busy machine adds.


async def test_a_result_after_the_limit_counts() -> None:
    """A coroutine that finishes its work although it was told to end has its answer given, and nothing is left over."""

    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "done"

    task = asyncio.current_task()
    assert task is not None
    assert await Deadlines().within(1.0, stubborn()) == "done"
    assert not task.cancelling()
    await asyncio.sleep(0)


async def test_cancellation_and_limit_at_once() -> None:
    """A caller who hangs up at the very moment of the limit has cancelled the call."""
    deadlines = Deadlines()
    ending = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await asyncio.sleep(0.2)

    task = asyncio.create_task(deadlines.within(1.0, slow_to_end()))
    await ending.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("seconds", [0.9, 5])
async def test_cancellation(seconds: float) -> None:
    """A caller who hangs up cancels the call, which is no timeout."""
    started = asyncio.Event()
    cancelled: list[bool] = []

    async def wait() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    task = asyncio.create_task(Deadlines().within(seconds, wait()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled
