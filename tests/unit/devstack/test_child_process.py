"""Child processes: ready when they say so, ended politely, and never orphans."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from valetkey_broker.errors import ConfigurationError
from valetkey_devstack.child_process import Child, halt
from valetkey_devstack.free_ports import free_port, is_free

_SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
_DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('up', flush=True)
time.sleep(60)
"""

# Starts a child, tells its process id and waits to be killed.
_PARENT = """
import asyncio, pathlib, sys
from valetkey_devstack.child_process import Child, halt

async def main():
    async def ready():
        return True
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    child = await Child.start("sleeper", argv, log_file=pathlib.Path(sys.argv[1]), ready=ready)
    print(child.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


# Counts in a file for as long as it runs, by several threads: what one of them adds may come while another halts.
_COUNTING = """
import mmap, sys, threading
with open(sys.argv[1], "r+b") as file:
    shared = mmap.mmap(file.fileno(), 0)

def count(place):
    number = 0
    while True:
        number += 1
        shared[place : place + 8] = number.to_bytes(8, "little")

for place in range(0, 64, 8):
    threading.Thread(target=count, args=(place,)).start()
"""


async def _at_once() -> bool:
    return True


def _alive(pid: int) -> bool:
    try:
        # A zombie that nobody has reaped yet still has its entry, but it has ended.
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def _soon(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def _wrote(log_file: Path, text: str) -> Callable[[], bool]:
    return lambda: log_file.exists() and text in log_file.read_text()


async def test_no_orphan_after_the_parent_was_killed(tmp_path: Path) -> None:
    """`kill -9` of the dev stack, or of a test run, leaves no server behind."""
    parent = subprocess.Popen(  # noqa: ASYNC220 (starting it takes no time)
        [sys.executable, "-c", _PARENT, tmp_path / "log"], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        try:
            assert _alive(pid)
        finally:
            parent.kill()
    assert await _soon(lambda: not _alive(pid))


async def test_launcher_refuses_a_parent_that_is_gone(tmp_path: Path) -> None:
    """A parent that dies before its child has tied itself to it leaves no orphan either."""
    launcher = Path(sys.modules[Child.__module__].__file__ or "").with_name("exec_tied_to_parent.py")
    marker = tmp_path / "marker"
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, launcher, "1", "touch", marker],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "parent process is gone" in done.stderr
    assert not marker.exists()


async def test_early_end_is_told_with_the_last_words(tmp_path: Path) -> None:
    """A server that cannot start is named, with its own explanation: no guessing, no waiting."""
    argv = [sys.executable, "-c", "print('the port is taken'); raise SystemExit(3)"]
    with pytest.raises(ConfigurationError, match=r"(?s)azurite ended \(exit status 3\).*the port is taken") as caught:
        await Child.start("azurite", argv, log_file=tmp_path / "log", ready=_never, ready_within=20)
    assert str(tmp_path / "log") in str(caught.value)


async def test_last_words_are_this_childs(tmp_path: Path) -> None:
    """A log that is appended to never blames today's failure on yesterday's."""
    log = tmp_path / "log"
    log.write_text("yesterday's disaster\n")
    argv = [sys.executable, "-c", "print('today'); raise SystemExit(1)"]
    with pytest.raises(ConfigurationError, match="today") as caught:
        await Child.start("bao", argv, log_file=log, ready=_never)
    assert "yesterday" not in str(caught.value)
    assert log.read_text() == "yesterday's disaster\ntoday\n"


async def test_end_is_noticed_though_the_probe_is_answered(tmp_path: Path) -> None:
    """Another server on the same port must not make a child that failed look ready."""

    async def answered_by_another() -> bool:
        return await _soon(_wrote(tmp_path / "log", "cannot bind")) and not await asyncio.sleep(0.3)

    argv = [sys.executable, "-c", "print('cannot bind'); raise SystemExit(1)"]
    with pytest.raises(ConfigurationError, match="cannot bind"):
        await Child.start("azurite", argv, log_file=tmp_path / "log", ready=answered_by_another)


async def test_missing_program_is_told(tmp_path: Path) -> None:
    """A program that is not there is named."""
    with pytest.raises(ConfigurationError, match="cannot run no-such-program: No such file"):
        await Child.start("bao", ["no-such-program"], log_file=tmp_path / "log", ready=_never)


async def _never() -> bool:
    raise ConnectionRefusedError


async def test_late_child_is_killed_and_told(tmp_path: Path) -> None:
    """A server that hangs at its start ends the wait, and does not stay behind."""
    argv = [sys.executable, "-c", f"import os; print('pid', os.getpid(), flush=True); {_SLEEP[2]}"]
    log = tmp_path / "log"

    async def not_yet() -> bool:
        return await _soon(_wrote(log, "pid")) and False

    with pytest.raises(ConfigurationError, match=r"was not ready within 0\.1 s"):
        await Child.start("bao", argv, log_file=log, ready=not_yet, ready_within=0.1)
    assert not _alive(int(log.read_text().split()[1]))


async def test_stop_is_polite_and_may_be_repeated(tmp_path: Path) -> None:
    """Stopping twice, as the clean-up after a failed start may, is no error."""
    child = await Child.start("sleeper", _SLEEP, log_file=tmp_path / "log", ready=_at_once)
    assert child.poll() is None
    assert await child.stop() == -signal.SIGTERM
    assert await child.stop() == -signal.SIGTERM
    assert child.kill() == -signal.SIGTERM
    assert not _alive(child.pid)


async def test_stop_kills_who_does_not_listen(tmp_path: Path) -> None:
    """A child that ignores SIGTERM does not hold up the end."""
    log = tmp_path / "log"

    async def up() -> bool:
        return _wrote(log, "up")()

    child = await Child.start("deaf", [sys.executable, "-c", _DEAF], log_file=log, ready=up)
    assert await child.stop(grace=0.1) == -signal.SIGKILL


async def test_cancelled_start_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C while a server starts ends that server."""
    log = tmp_path / "log"
    argv = [sys.executable, "-c", f"import os; print('pid', os.getpid(), flush=True); {_SLEEP[2]}"]
    starting = asyncio.create_task(Child.start("sleeper", argv, log_file=log, ready=_never))
    assert await _soon(_wrote(log, "\n"))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not _alive(int(log.read_text().split()[1]))


async def test_environment_is_the_given_one(tmp_path: Path) -> None:
    """The user's shell, with a VAULT_ADDR in it, does not reach a child that was given an environment."""
    log = tmp_path / "log"

    async def said() -> bool:
        return _wrote(log, "]")()

    argv = [sys.executable, "-c", f"import os; print(sorted(os.environ), flush=True); {_SLEEP[2]}"]
    child = await Child.start("child", argv, log_file=log, ready=said, env={"ONLY": "this"})
    await child.stop()
    assert "ONLY" in log.read_text()
    assert "PATH" not in log.read_text()


def test_free_ports_differ_and_are_free() -> None:
    """Parts of one stack never get the same port."""
    ports = [free_port() for _ in range(20)]
    assert len(set(ports)) == len(ports)
    assert all(map(is_free, ports))


async def test_who_is_halted_does_nothing_more(tmp_path: Path) -> None:
    """Protects every test of servers that hang: one of their threads would still answer after the signal was sent."""
    counted = tmp_path / "counted"
    counted.write_bytes(bytes(64))

    async def counting() -> bool:
        return all(counted.read_bytes()[place : place + 8] > bytes(8) for place in range(0, 64, 8))

    argv = [sys.executable, "-c", _COUNTING, str(counted)]
    child = await Child.start("counting", argv, log_file=tmp_path / "log", ready=counting)
    try:
        for _ in range(50):
            halt(child.pid)
            found = counted.read_bytes()
            await asyncio.sleep(0.01)
            assert counted.read_bytes() == found
            os.kill(child.pid, signal.SIGCONT)
            before = counted.read_bytes()
            assert await _soon(lambda: counted.read_bytes() != before)  # noqa: B023 (called in this round)
    finally:
        child.kill()
