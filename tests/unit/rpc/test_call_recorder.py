"""Changes that go on without their caller."""

import asyncio
import gc
from typing import Any

from support.core import FakeClock
from support.fake_ledger import FakeLedger
from valetkey_broker.rpc.call_recorder import Recorder
from valetkey_broker.rpc.current_call import Call


async def test_one_that_fails_after_its_caller_left_is_no_error_of_asyncios() -> None:
    """The ledger tells what became of it; asyncio would print its error, with whatever text that has, to the log."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    recorder = Recorder(FakeLedger(), FakeClock())
    started, left = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        await left.wait()
        raise TimeoutError("s3cret")

    caller = asyncio.create_task(recorder.change(Call("call-1"), "grants/training", {}, work))
    await started.wait()
    caller.cancel()
    await asyncio.wait([caller])
    left.set()
    await recorder.close()
    await asyncio.sleep(0)
    del caller
    gc.collect()  # Only then asyncio tells of errors that nobody looked at.

    assert told == []
