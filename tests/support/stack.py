"""A running dev stack for tests: one for each test process, on a thread and an event loop of its own.

tests/conftest.py makes the fixture `dev_stack` known everywhere; tests that break parts mend them again.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from broker.devstack.stack import DevStack

T = TypeVar("T")
_SECONDS = 60.0


@dataclass(frozen=True)
class RunningStack:
    """A started stack and the loop it lives on."""

    stack: "DevStack"
    loop: asyncio.AbstractEventLoop

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` on the stack's loop and returns its result; from a test of either kind."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_SECONDS)


@contextmanager
def running_stack(directory: Path, **options: Any) -> Iterator[RunningStack]:
    """Starts a stack in `directory` and ends it afterwards; `options` are those of DevStack."""
    # Late: unit tests do not need it, and it takes half a second to load.
    from broker.devstack.stack import DevStack

    started: concurrent.futures.Future[tuple[RunningStack, asyncio.Event]] = concurrent.futures.Future()

    async def live() -> None:
        stop = asyncio.Event()
        async with DevStack(directory, **options) as stack:
            started.set_result((RunningStack(stack, asyncio.get_running_loop()), stop))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    # The stack's children live as long as this thread.
    thread = threading.Thread(target=run, name="dev-stack")
    thread.start()
    try:
        running, stop = started.result(_SECONDS)
        try:
            yield running
        finally:
            running.loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join(_SECONDS)


@pytest.fixture(scope="session")
def dev_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Everything the broker talks to, running."""
    with running_stack(tmp_path_factory.mktemp("dev-stack")) as running:
        yield running
