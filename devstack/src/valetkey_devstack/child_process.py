"""Child processes that never outlive the process that started them."""

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from valetkey_broker.errors import ConfigurationError
from valetkey_devstack.free_ports import HOST

Probe = Callable[[], Awaitable[bool]]
"""Tells whether a child is ready. May raise OSError for "not yet"."""

_LAUNCHER = Path(__file__).with_name("exec_tied_to_parent.py")
_PROBE_EVERY = 0.05
_PROBE_TIMEOUT = 2.0
_LAST_LINES = 12
_HALTED = "TtZX"  # Source: proc_pid_stat(5)


class Child:
    """A running child process.

    On Linux the kernel kills it when the thread that started it ends, however that happens; so start it from
    the thread of the event loop, and keep that thread. Ctrl-C in a terminal does not reach it: its parent
    stops it.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], log_file: Path, log_start: int = 0) -> None:
        self.name = name
        self.log_file = log_file
        self._process = process
        self._log_start = log_start

    @classmethod
    async def start(
        cls,
        name: str,
        argv: Sequence[str | Path],
        *,
        log_file: Path,
        ready: Probe,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready_within: float = 90.0,
    ) -> Self:
        """Starts `argv` with its output appended to `log_file` and returns once `ready` says so.

        `env` is the child's whole environment (None: the parent's own); `ready_within` is in seconds. Secrets
        belong into `env` or files, never into `argv`, which other users of the machine can see.
        Raises ConfigurationError, with the last lines of the log, where the child ends early or is late.
        """
        # Not in a worker thread: the child's life hangs on the thread that forks.
        process, log_start = _spawn(argv, log_file, env, cwd)
        child = cls(name, process, log_file, log_start)
        try:
            await child._wait_until(ready, ready_within)
        except BaseException:
            child.kill()
            raise
        return child

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Returns the exit status, negative for a signal; None while the child runs."""
        return self._process.poll()

    async def stop(self, grace: float = 5.0) -> int:
        """Asks the child to end (SIGTERM) and kills it after `grace` seconds. Returns its exit status.

        May be called again: a child that has ended stays ended.
        """
        if self.poll() is None:
            self._process.terminate()
        deadline = time.monotonic() + grace
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                return self.kill()
            await asyncio.sleep(0.02)
        return status

    def kill(self) -> int:
        """Kills the child, and what it has started, at once (SIGKILL). Returns its exit status."""
        if self._process.poll() is None:
            # The child leads a process group of its own.
            os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()

    def last_lines(self) -> str:
        """Returns the end of what this child has logged, for an error message."""
        try:
            # Before that stands what an earlier child wrote, which would explain the wrong failure.
            text = self.log_file.read_bytes()[self._log_start :].decode("utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(line[:500] for line in text.splitlines()[-_LAST_LINES:])

    async def _wait_until(self, ready: Probe, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            answered = await _ask(ready)
            # In this order: a probe can be answered by another server that has the child's port.
            if (status := self.poll()) is not None:
                raise ConfigurationError(self._story(f"ended ({_in_words(status)}) before it was ready"))
            if answered:
                return
            if time.monotonic() > deadline:
                raise ConfigurationError(self._story(f"was not ready within {seconds:g} s"))
            await asyncio.sleep(_PROBE_EVERY)

    def _story(self, what: str) -> str:
        lines = self.last_lines()
        said = f"its last words:\n{lines}" if lines else "it said nothing"
        return f"{self.name} {what}; {said}\nIts log: {self.log_file}"


def tls_ready(port: int, ca_file: Path) -> Probe:
    """Returns a probe that is content when a server on 127.0.0.1 shows a certificate of this CA.

    Another server that happens to have the port does not pass.
    """
    context = ssl.create_default_context(cafile=str(ca_file))

    async def probe() -> bool:
        _, writer = await asyncio.open_connection(HOST, port, ssl=context)
        writer.close()
        return True

    return probe


def halt(pid: int) -> None:
    """Halts a process (SIGSTOP), and returns once none of its threads does anything any more.

    The signal comes before that: its threads may well answer who asks in the next millisecond. Only Linux tells.
    """
    os.kill(pid, signal.SIGSTOP)
    while any(state not in _HALTED for state in _states(pid)):
        time.sleep(0.001)


def _states(pid: int) -> Iterator[str]:
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # It ended just now.
            yield thread.read_text().rpartition(")")[2].split()[0]


def tied_to_this_process(argv: Sequence[str | Path]) -> list[str]:
    """Returns the command that runs `argv` such that it ends when this thread does, however that happens."""
    return [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *map(str, argv)]


def _spawn(
    argv: Sequence[str | Path], log_file: Path, env: Mapping[str, str] | None, cwd: Path | None
) -> tuple[subprocess.Popen[bytes], int]:
    descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as log:
        log_start = log.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            tied_to_this_process(argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    return process, log_start


async def _ask(ready: Probe) -> bool:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT):
            return await ready()
    except (OSError, TimeoutError):
        return False


def _in_words(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
