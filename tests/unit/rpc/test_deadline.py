"""The time limit of calls, which sets a timer only where something waits."""

import asyncio

import pytest

from broker.rpc.deadline import within


async def test_a_result_that_needs_no_waiting() -> None:
    """The hot path answers; a limit of nothing at all proves that no timer is set for it."""

    async def answer() -> int:
        return 42

    assert await within(0, answer()) == 42


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

    assert await within(5, answer()) == list(range(waits))


async def test_too_late() -> None:
    """A coroutine that waits too long is ended, and can tidy up."""
    tidied: list[bool] = []

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append(True)

    with pytest.raises(TimeoutError):
        await within(0.01, never())
    assert tidied


@pytest.mark.parametrize("waits", [False, True])
async def test_errors(waits: bool) -> None:
    """Errors come through as they are, before the first wait and after."""

    async def fail() -> None:
        if waits:
            await asyncio.sleep(0)
        raise LookupError

    with pytest.raises(LookupError):
        await within(5, fail())


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

    assert await within(5, handle()) == "handled"


async def test_cancellation() -> None:
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

    task = asyncio.create_task(within(5, wait()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled
