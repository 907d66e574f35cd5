"""How the port for metrics asks a worker: through a socket that the two have from the start, and no file.

Each question carries a fresh socket for its answer, so that one that comes too late is nobody's, and a worker that
hangs, or dies while it answers, is told from one that has said all.
"""

import asyncio
import contextlib
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum

METRICS_ENV = "VALETKEY_BROKER_METRICS_FD"
"""Names the descriptor of a worker's end to it."""
_LENGTH = struct.Struct("!I")
_CHUNK = 1 << 16


class Question(Enum):
    """What may be asked."""

    METRICS = b"m"
    SERVING = b"s"


Answers = Callable[[Question], Awaitable[bytes]]


class Asker:
    """The end of whoever asks. May be used from several threads."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._lock = threading.Lock()

    def ask(self, question: Question) -> socket.socket | None:
        """Sends a question; returns the socket on which its answer will come, or None where nobody is there."""
        mine, given = socket.socketpair()
        mine.setblocking(False)
        try:
            with given, self._lock:
                # Fails at once, too, where many questions were never looked at.
                socket.send_fds(self._ours, [question.value], [given.fileno()])
        except OSError:
            mine.close()
            return None
        return mine

    def close(self) -> None:
        """Ends the connection."""
        with self._lock:
            self._ours.close()
            self.theirs.close()


def ask_all(askers: Sequence[Asker | None], question: Question, seconds: float) -> list[bytes | None]:
    """Asks all at once; returns the answers in order, None for who has none within `seconds`. Never raises."""
    found: list[bytes | None] = [None] * len(askers)
    until = time.monotonic() + seconds
    with contextlib.ExitStack() as closing, selectors.DefaultSelector() as waiting:
        for index, asker in enumerate(askers):
            answer = asker.ask(question) if asker is not None else None
            if answer is not None:
                closing.enter_context(answer)
                waiting.register(answer, selectors.EVENT_READ, (index, bytearray()))
        while waiting.get_map() and (left := until - time.monotonic()) > 0:
            for key, _ in waiting.select(left):
                index, said = key.data
                chunk = _received(key.fileobj)
                said += chunk
                if not chunk:
                    waiting.unregister(key.fileobj)
                    found[index] = _whole(said)
    return found


def _received(answer: object) -> bytes:
    try:
        return answer.recv(_CHUNK) if isinstance(answer, socket.socket) else b""
    except OSError:
        return b""


def _whole(said: bytearray) -> bytes | None:
    if len(said) < _LENGTH.size or _LENGTH.unpack_from(said)[0] != len(said) - _LENGTH.size:
        return None
    return bytes(said[_LENGTH.size :])


class Answerer:
    """A worker's end: answers from its event loop, so that one that hangs does not answer."""

    def __init__(self, end: socket.socket) -> None:
        """Takes the socket over, and closes it in the end."""
        self._end = end
        self._end.setblocking(False)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, answers: Answers) -> None:
        """Answers until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._end.fileno(), self._asked, answers)
        try:
            await asyncio.Event().wait()
        finally:
            loop.remove_reader(self._end.fileno())
            for task in self._tasks:
                task.cancel()
            self._end.close()

    def _asked(self, answers: Answers) -> None:
        try:
            question, descriptors, _, _ = socket.recv_fds(self._end, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            question, descriptors = b"", []
        if not question:  # Whoever asks has ended, and so does this process; see watch_lifeline.
            asyncio.get_running_loop().remove_reader(self._end.fileno())
            return
        for descriptor in descriptors:
            task = asyncio.get_running_loop().create_task(_answer(answers, question, descriptor), name="metrics-answer")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _answer(answers: Answers, question: bytes, descriptor: int) -> None:
    with socket.socket(fileno=descriptor) as to:
        to.setblocking(False)
        said = await answers(Question(question))
        with contextlib.suppress(OSError):  # Who asked has gone.
            await asyncio.get_running_loop().sock_sendall(to, _LENGTH.pack(len(said)) + said)


def answerer_of_worker() -> Answerer | None:
    """Returns the end that the supervisor gave to this process, or None where it gave none."""
    value = os.environ.pop(METRICS_ENV, "")
    return Answerer(socket.socket(fileno=int(value))) if value.isdecimal() else None
