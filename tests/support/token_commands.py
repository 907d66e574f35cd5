"""Asking for tokens with the command line, once or as a stream, and why there are none."""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from support.cli_runner import Ran
from support.e2e import DEMO, Cli

# Changes reach every worker within a second; a loaded machine takes its time.
SOON = 60.0


class Watch:
    """A running `valetkey token watch`."""

    def __init__(self, by: Cli, *options: str) -> None:
        self._process = by.start(
            *("token", "watch", "--resource", DEMO, "--permissions", "read,list", *options, "-o", "json")
        )

    def token(self) -> dict[str, Any]:
        """Waits for the next token."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._process.communicate()
        token: dict[str, Any] = json.loads(line)
        return token

    def note(self) -> str:
        """Waits for what it notes on standard error."""
        assert self._process.stderr is not None
        note: str = json.loads(self._process.stderr.readline())["note"]
        return note

    def end(self, within: float = SOON) -> tuple[int, str]:
        """Waits for the end; returns the exit code and the reason."""
        _, said = self._process.communicate(timeout=within)
        return self._process.returncode, json.loads(said.splitlines()[-1])["error"]["reason"]

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@contextmanager
def watching(by: Cli, *options: str) -> Iterator[Watch]:
    """Watches while the context lasts."""
    watch = Watch(by, *options)
    try:
        yield watch
    finally:
        with contextlib.suppress(ValueError, subprocess.SubprocessError):  # Its outputs may have been read to the end.
            watch.stop()


def issue(by: Cli, *options: str, on: str = DEMO, permissions: str = "read,list") -> Ran:
    """Asks for a token."""
    return by("token", "issue", "--resource", on, "--permissions", permissions, *options, "-o", "json")


def eventually(command: Callable[[], Ran]) -> Ran:
    """Runs a command until it succeeds: the worker it reaches may not have heard of the latest change yet."""
    deadline = time.monotonic() + SOON
    while (ran := command()).code and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ran.code == 0, ran
    return ran


def why(ran: Ran) -> dict[str, Any]:
    """Returns the error of a command that was refused and said nothing else."""
    assert (ran.code != 0, ran.out) == (True, ""), ran
    error: dict[str, Any] = json.loads(ran.err.splitlines()[-1])["error"]
    return error
