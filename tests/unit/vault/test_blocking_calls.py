"""Blocking calls on few threads: whose time it is that runs out."""

import asyncio
import threading

import pytest

from valetkey_broker.adapters.vault.blocking_calls import THREADS, Calls
from valetkey_broker.errors import BrokerError

_TIMEOUT = 60.0


class _Clock:
    """The clock of the event loop, which can be put forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._ahead, self._time = 0.0, loop.time
        monkeypatch.setattr(loop, "time", lambda: self._time() + self._ahead)

    async def put_forward(self, seconds: float) -> None:
        self._ahead += seconds
        for _ in range(5):
            await asyncio.sleep(0)


async def _all_at_work(calls: Calls, go_on: threading.Event) -> list[asyncio.Task[bool]]:
    begun = threading.Semaphore(0)

    def work() -> bool:
        begun.release()
        return go_on.wait(120)

    tasks = [asyncio.create_task(calls.run("reading", work)) for _ in range(THREADS)]
    for _ in tasks:
        assert await asyncio.to_thread(begun.acquire, timeout=120)
    return tasks


async def test_waiting_for_a_thread_takes_no_time_from_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six folders are listed on four threads: where each answer takes most of the time it has, all come."""
    calls, first, second = Calls(_TIMEOUT), threading.Event(), threading.Event()
    clock = _Clock(monkeypatch)
    try:
        tasks = await _all_at_work(calls, first)
        begun = threading.Event()

        def work() -> bool:
            begun.set()
            return second.wait(120)

        tasks.append(asyncio.create_task(calls.run("reading", work)))
        await clock.put_forward(0)
        await clock.put_forward(_TIMEOUT * 0.6)
        first.set()
        assert await asyncio.gather(*tasks[:THREADS]) == [True] * THREADS  # Before their own time runs out.
        assert await asyncio.to_thread(begun.wait, 120)
        await clock.put_forward(_TIMEOUT * 0.6)
        second.set()
        assert await tasks[-1]
    finally:
        first.set()
        second.set()
        calls.close()


async def test_the_wait_for_a_thread_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that a Vault without answers holds are no reason to wait for ever; once they are back, calls go on."""
    calls, go_on = Calls(_TIMEOUT), threading.Event()
    clock = _Clock(monkeypatch)
    try:
        tasks = await _all_at_work(calls, go_on)
        await clock.put_forward(_TIMEOUT * 1.1)
        tasks.append(asyncio.create_task(calls.run("reading", go_on.is_set)))
        await clock.put_forward(0)
        await clock.put_forward(_TIMEOUT * 1.1)
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, BrokerError)
            assert outcome.metadata == {"cause": "timeout"}
        go_on.set()
        assert await calls.run("reading", lambda: "answered") == "answered"
    finally:
        go_on.set()
        calls.close()


async def test_what_waits_when_the_broker_stops_is_told_so() -> None:
    """It does not begin any more."""
    calls, go_on = Calls(_TIMEOUT), threading.Event()
    tasks = await _all_at_work(calls, go_on)
    waits = asyncio.create_task(calls.run("reading", go_on.is_set))
    await asyncio.sleep(0)
    calls.close()
    go_on.set()
    with pytest.raises(BrokerError, match="stopping"):
        await waits
    assert await asyncio.gather(*tasks) == [True] * THREADS
