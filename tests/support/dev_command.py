"""`valetkey-broker dev` as a process of its own, in a process group of its own, as a terminal starts it."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.children import start
from support.e2e import BROKER, Cli, soon, user_environment
from support.processes import descendants, mentioning

READY_WITHIN = 200.0


@dataclass(frozen=True)
class Dev:
    """A running `valetkey-broker dev` in `directory`; its outputs go to files beside that."""

    process: subprocess.Popen[bytes]
    directory: Path

    @property
    def out(self) -> str:
        return self.directory.with_suffix(".out").read_text()

    @property
    def err(self) -> str:
        return self.directory.with_suffix(".err").read_text()

    def wait_until_ready(self) -> float:
        """Waits for the welcome and returns the seconds it names."""
        done = soon(lambda: "Ctrl-C ends everything" in self.out or self.process.poll() is not None, READY_WITHIN)
        match = re.match(r"Ready in ([0-9.]+) s", self.out)
        assert done, f"not ready within {READY_WITHIN:g} s:\n{self.err}"
        assert match, f"ended with {self.process.poll()}:\n{self.err}"
        return float(match[1])

    def press_ctrl_c(self) -> None:
        """Signals the whole group, as a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ended(self, seconds: float = 120.0) -> int:
        """Waits for its end and returns the exit code."""
        return self.process.wait(seconds)

    def tree(self) -> list[int]:
        """Returns all the processes it has started, and those they have."""
        return descendants(self.process.pid)

    def left(self) -> list[int]:
        """Returns the processes that still have to do with the directory."""
        return mentioning(self.directory)

    def cli(self) -> Cli:
        """Returns the command line with what this stack's env.sh exports, sourced by a shell."""
        done = subprocess.run(
            ["bash", "-c", '. "$0" && env', self.directory / "env.sh"],
            env=user_environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        lines = (line.partition("=")[::2] for line in done.stdout.splitlines())
        exported = {name: value for name, value in lines if name.startswith("VALETKEY_")}
        return Cli({**exported, "HOME": str(self.directory)}, is_installed=True)


@contextmanager
def dev(directory: Path, *options: str, **variables: str) -> Iterator[Dev]:
    """Starts the command, on free ports unless `options` say otherwise, and ends it afterwards at the latest."""
    with directory.with_suffix(".out").open("wb") as out, directory.with_suffix(".err").open("wb") as err:
        process = start(
            [BROKER, "dev", "--directory", directory, "--port", "0", *options],
            env=user_environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        yield Dev(process, directory)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in mentioning(directory):  # A test that found an orphan must not leave it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
