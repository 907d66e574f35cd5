"""The log of a process that serves, where whoever collects it is slow, stuck or back again."""

import errno
import io
import json
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog

from support.stopwatch import ends_within
from valetkey_broker.observability import log_output
from valetkey_broker.observability.log_output import Descriptor, Lines, QueuedLines
from valetkey_broker.observability.logging import configure_logging, logging_by_a_thread


class _Reader:
    """Takes a line at a time, as it is told to."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self._asked = threading.Semaphore(0)
        self._may = threading.Semaphore(0)

    def write(self, text: str) -> None:
        self._asked.release()
        self._may.acquire()
        self.taken.append(text)

    def flush(self) -> None:
        pass

    def let_go_on(self, lines: int = 1000) -> None:
        self._may.release(lines)

    def was_asked(self, times: int) -> None:
        """Waits until that many lines were brought, the last of which need not be taken yet."""
        for _ in range(times):
            assert self._asked.acquire(timeout=60)


def _say_lost(lines: int) -> str:
    return f"{lines} lost\n"


def test_what_is_lost_is_told_in_its_place() -> None:
    """A stuck reader costs the lines beyond the bound, and no more; all others come, in their order."""
    reader = _Reader()
    queued = QueuedLines(Lines(reader), _say_lost, most_waiting=20)
    for number in range(10, 20):
        queued.write(f"{number}: x\n")  # Six characters: three of them wait.
    reader.let_go_on(2)
    reader.was_asked(3)
    queued.write("20: x\n")
    reader.let_go_on()
    queued.close()
    assert reader.taken == ["10: x\n", "11: x\n", "12: x\n", "7 lost\n", "20: x\n"]


def test_lost_lines_are_told_though_nothing_is_said_after_them() -> None:
    """A broker that fell silent meanwhile tells of them all the same, once somebody reads."""
    reader = _Reader()
    queued = QueuedLines(Lines(reader), _say_lost, most_waiting=6)
    for _ in range(3):
        queued.write("1: x\n")
    reader.let_go_on()
    queued.close()
    assert reader.taken == ["1: x\n", "2 lost\n"]


def test_a_process_ends_though_its_reader_is_stuck() -> None:
    """The end waits for the reader for a while, not for ever; once that is over, lines are written right away."""
    reader = _Reader()
    queued = QueuedLines(Lines(reader), _say_lost)
    queued.write("first\n")
    with ends_within():
        queued.close(seconds=0.01)
    reader.let_go_on()
    queued.close()
    queued.write("last\n")
    assert reader.taken == ["first\n", "last\n"]


@pytest.fixture
def _restored() -> Iterator[None]:
    """Puts the process's logging back as it was: other tests share it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_restored")
def test_every_line_is_out_at_the_end(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost where somebody reads, and least of all what a start that failed had to say."""
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)

    def fail() -> None:
        with logging_by_a_thread("json", "info"):
            for number in range(500):
                structlog.get_logger().info("said", number=number)
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert [json.loads(line)["number"] for line in capfd.readouterr().out.splitlines()] == list(range(500))


@pytest.mark.usefixtures("_restored")
def test_standard_output_that_is_no_file_is_written_to_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the broker in a program of theirs may have put something of their own in its place."""
    own = io.StringIO()
    monkeypatch.setattr(sys, "stdout", own)
    with logging_by_a_thread("json", "info"):
        structlog.get_logger().info("said")
        assert json.loads(own.getvalue())["event"] == "said"


@pytest.mark.usefixtures("_restored")
def test_that_lines_are_lost_is_told_as_all_else(tmp_path: Path) -> None:
    """In the format of the others, at a level that everybody has."""
    with (tmp_path / "log").open("w") as out:
        queued = configure_logging("json", "error", out, queued=True)
        assert queued is not None
        queued.close()
        line = json.loads(queued._say_lost(7))
    assert line.pop("timestamp")
    assert line == {"event": "lines of the log are lost: they were not read in time", "lines": 7, "level": "error"}


def test_a_pipe_takes_a_line_whole_that_is_longer_than_it() -> None:
    """In as many pieces as it needs, whatever stands in it."""
    reading, writing = os.pipe()
    line = "x" * 300_000 + "\ud800\n"
    with open(reading, "rb") as taken, ThreadPoolExecutor(1) as reader:  # noqa: PTH123 (a descriptor)
        got = reader.submit(taken.read)
        Descriptor(writing).write(line)
        os.close(writing)
        assert got.result(60) == b"x" * 300_000 + b"\\ud800\n"


def test_a_descriptor_that_does_not_wait_takes_whole_lines() -> None:
    """Whoever shares the log's pipe or terminal may have it not wait: a reader who is slow still gets whole lines."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    lines = [f"{number:05} {'x' * 7000}\n" for number in range(100)]
    lost: list[bool] = []

    def say() -> None:
        out = Lines(Descriptor(writing))
        try:
            for line in lines:
                out.write(line)
                out.flush()
                lost.append(out._lost)
        finally:
            os.close(writing)

    with ThreadPoolExecutor(1) as threads, os.fdopen(reading) as log:
        threads.submit(say)
        assert log.read() == "".join(lines)
    assert not any(lost)


def test_a_line_that_a_full_disk_cut_is_ended_once_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the next line stood behind its beginning, and both were none; lines that were not begun are lost."""
    disk, room = bytearray(), deque([10, 0, 0, 3, 0, 99, 99])  # by try

    def write(_descriptor: int, data: bytes) -> int:
        taken = data[: room.popleft()]
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        disk.extend(taken)
        return len(taken)

    monkeypatch.setattr(log_output, "os", SimpleNamespace(write=write))
    out = Lines(Descriptor(1))
    for line in ("a line that is cut\n", "lost\n", "lost, too\n", "there\n", "next\n"):
        out.write(line)
        out.flush()
    assert disk.decode().splitlines() == ["a line that is cut", "there", "next"]
