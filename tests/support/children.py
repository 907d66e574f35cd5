"""Processes that tests start: none outlives its test or this process, and none inherits that signals are ignored.

tests/conftest.py makes it hold for every test: by the hooks below, which pytest calls by their names.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from support.processes import alive, descendants, read_process
from valetkey_devstack.child_process import tied_to_this_process

# A shell has programs that it starts in the background ignore these, and they have theirs ignore them.
_IGNORED_IN_THE_BACKGROUND = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
# Source: prctl(2), <linux/prctl.h>
_PR_SET_CHILD_SUBREAPER = 36


class Process(Protocol):
    """A process of which this one is the parent, as subprocess.Popen is one."""

    @property
    def args(self) -> Any: ...

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, number: int, /) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


_started: list[Process] = []
_last_steps: list[Callable[[], None]] = []


def start(argv: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
    """Starts a program that ends with this process at the latest; `options` are those of Popen.

    Call it in the main thread: a program's life hangs on the thread that started it. What a test itself starts is
    ended with it, too; what a fixture starts, the fixture has to end.
    """
    process = subprocess.Popen(tied_to_this_process(argv), **options)
    adopt(process)
    return process


def adopt(process: Process) -> None:
    """Has a process that was started in another way end as those do that `start` has started."""
    _started.append(process)


def end_and_show(process: Process) -> None:
    """Ends a program that hangs, with all below it; those with PYTHONFAULTHANDLER=1 write down where they stand."""
    below = descendants(process.pid)
    process.send_signal(signal.SIGABRT)  # First: it is not to go on without those that it waits for.
    process.wait()
    for number, patience in ((signal.SIGABRT, 30), (signal.SIGKILL, 30)):
        for pid in alive(below):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        end = time.monotonic() + patience
        while alive(below) and time.monotonic() < end:
            time.sleep(0.01)


def take_in_orphans() -> None:
    """Has children of children come to this process when their parents end, and not to init (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def at_end(step: Callable[[], None]) -> None:
    """Has `step` end, with the last test of this process, what tests share without a fixture."""
    _last_steps.append(step)


def unmeasured(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns it without what has a program measure its coverage: of 0.8 s that a command takes, that takes 0.3 s.

    For commands that tests run by the hundred, and whose code other tests run in their own process.
    """
    return {name: value for name, value in environment.items() if not name.startswith("COVERAGE_PROCESS")}


def heed_signals() -> None:
    """Lets the programs that are started from now on heed Ctrl-C, even where this process was started to ignore it.

    This process goes on ignoring it: a handler is not inherited, and that nothing is to be done is.
    """
    for number in _IGNORED_IN_THE_BACKGROUND:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _do_nothing)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Ends what the test has started; a test that passes and leaves something running fails."""
    before = len(_started)
    try:
        result = yield
    except BaseException:
        _end(_started[before:])
        raise
    left = _end(_started[before:])
    assert not left, f"the test left running: {left}"
    return result


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    """Fails the last test of this process where any process below it, or left by one of those, outlives them all."""
    heed_signals()
    take_in_orphans()
    yield
    _end(_started)
    while _last_steps:
        _last_steps.pop()()
    left = {}
    for pid in descendants(os.getpid()):
        left[pid] = read_process(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left, f"left running: {left}"


def _end(processes: Iterable[Process]) -> list[str]:
    """Kills those that run, with what they have started as leaders of a group; returns their command lines."""
    left = []
    for process in processes:
        if process.poll() is None:
            left.append(" ".join(map(str, process.args)))
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(process.pid) == process.pid:
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
            process.wait()
    return left


def _do_nothing(_number: int, _frame: Any) -> None:
    pass
