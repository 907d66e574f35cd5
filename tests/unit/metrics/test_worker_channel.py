"""A worker that hangs, dies or says half of it is told from one that answers, and keeps nobody waiting."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from valetkey_broker.metrics.worker_channel import METRICS_ENV, Answerer, Asker, Question, answerer_of_worker, ask_all

LONG = b"x" * 3_000_000


async def says(question: Question) -> bytes:
    return LONG if question is Question.METRICS else b"1"


@contextlib.asynccontextmanager
async def answering() -> AsyncIterator[Asker]:
    """Gives an asker whose worker answers, in this event loop."""
    asker = Asker()
    task = asyncio.create_task(Answerer(asker.theirs).run(says))
    yield asker
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    asker.close()


async def test_answers_come_whole() -> None:
    """A text longer than any buffer arrives; two questions at once are not mixed up."""
    async with answering() as one, answering() as other:
        both = await asyncio.gather(
            asyncio.to_thread(ask_all, [one, None, other], Question.METRICS, 30.0),
            asyncio.to_thread(ask_all, [one], Question.SERVING, 30.0),
        )
    assert both == [[LONG, None, LONG], [b"1"]]


async def test_one_that_hangs_costs_the_others_nothing() -> None:
    """Who says nothing in time has no answer; a late one is nobody's."""
    silent = Asker()
    async with answering() as one:
        for _ in range(2):
            assert await asyncio.to_thread(ask_all, [silent, one], Question.SERVING, 3.0) == [None, b"1"]
        # It comes to itself, and finds questions that nobody waits for any more.
        task = asyncio.create_task(Answerer(silent.theirs).run(says))
        assert await asyncio.to_thread(ask_all, [silent], Question.SERVING, 30.0) == [b"1"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    silent.close()


async def test_one_that_hangs_for_long_is_not_asked_without_end() -> None:
    """Questions that nobody reads are not kept without bound: at some point asking fails at once."""
    silent = Asker()
    answers = [silent.ask(Question.SERVING) for _ in range(2000)]
    assert answers[-1] is None
    for each in filter(None, answers):
        each.close()
    silent.close()


@pytest.mark.parametrize("said", [b"", b"\x00\x00", b"\x00\x00\x00\x05abc"])
async def test_half_an_answer_is_none(said: bytes) -> None:
    """A worker that dies while it answers leaves half a text, which would look as if the rest had vanished."""
    asker = Asker()
    asking = asyncio.create_task(asyncio.to_thread(ask_all, [asker], Question.METRICS, 30.0))
    await asyncio.get_running_loop().run_in_executor(None, _answered, asker, said)
    assert await asking == [None]
    asker.close()


def _answered(asker: Asker, said: bytes) -> None:
    asker.theirs.setblocking(True)
    _, (descriptor, *_), _, _ = socket.recv_fds(asker.theirs, 1, 1)
    with socket.socket(fileno=descriptor) as to:
        to.sendall(said)


async def test_whoever_is_gone_has_no_answer() -> None:
    """A worker that ended, or whose place was cleared meanwhile, is no error."""
    gone, closed = Asker(), Asker()
    gone.theirs.close()
    closed.close()
    assert ask_all([gone, closed], Question.METRICS, 5.0) == [None, None]
    gone.close()


async def test_a_worker_finds_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor names the descriptor in the environment; commands of the worker must not inherit the name."""
    asker = Asker()
    monkeypatch.setenv(METRICS_ENV, str(asker.theirs.detach()))
    answerer = answerer_of_worker()
    assert answerer is not None
    assert answerer_of_worker() is None
    task = asyncio.create_task(answerer.run(says))
    assert await asyncio.to_thread(ask_all, [asker], Question.SERVING, 30.0) == [b"1"]
    asker.close()
    await asyncio.sleep(0)
    assert not task.done()  # The supervisor's end ends the worker, and nothing else does.
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
