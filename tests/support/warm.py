"""Our commands, started in a twentieth of the time: forked from a process that has loaded their modules already.

A broker takes two seconds to import what it needs, a `valetkey` half of one; the tests start hundreds. What is started
here is told from the installed command by nothing but its command line in /proc: it has a process id, an environment,
files, signals, an exit code and, where that is asked for, measured coverage of its own. Tests of how the installed
command starts, and a few of each kind besides, take the installed one.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from support import children
from support.forked import ForkedProcess
from support.warm_server import LENGTH

_TESTS = Path(__file__).parents[1]


class WarmCommand:
    """A command. `entry` is `module:function`; `modules` are loaded beforehand, with `NAME.*` a package.

    `python` has them: that of the tests unless told otherwise.
    """

    def __init__(self, entry: str, *modules: str, python: str | Path = sys.executable, **environment: str) -> None:
        self._python = str(python)
        self._server_arguments = (entry, *modules)
        self._environment = environment
        self._server: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._turn = threading.Lock()

    def start(
        self,
        argv: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        files: Sequence[int],
        new_session: bool = False,
    ) -> ForkedProcess:
        """Starts it with `files` as standard input, output and error. It ends with the test, as children.start's."""
        words = list(map(str, argv))
        request = {
            "arguments": words,
            "environment": dict(environment),
            "directory": str(Path.cwd()),
            "parent": os.getpid(),
            "new_session": new_session,
        }
        body = json.dumps(request).encode()
        with self._turn:
            control = self._running()
            socket.send_fds(control, [LENGTH.pack(len(body))], files)
            control.sendall(body)
            answer = control.recv(LENGTH.size, socket.MSG_WAITALL)
        assert answer, f"the process that forks {words[0]} has ended"
        process = ForkedProcess(LENGTH.unpack(answer)[0], words)
        children.adopt(process)
        return process

    def run(
        self, argv: Sequence[str | Path], *, environment: Mapping[str, str], stdin: str = "", patience: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Runs it to its end. Raises AssertionError after `patience` seconds, with where it stands."""
        return _run(lambda files, shown: self.start(argv, environment=shown, files=files), environment, stdin, patience)

    def _running(self) -> socket.socket:
        """Starts the process that forks, once, and returns the way to it."""
        if self._server is None:
            children.take_in_orphans()  # What it forks becomes a child of this process.
            ours, its = socket.socketpair()
            with its:
                module = [self._python, "-m", "support.warm_server", str(its.fileno()), *self._server_arguments]
                # It ends when the way to it does, and so with this process.
                process = subprocess.Popen(
                    module,
                    pass_fds=[its.fileno()],
                    env=children.unmeasured({**os.environ, **self._environment, "PYTHONPATH": str(_TESTS)}),
                    stdin=subprocess.DEVNULL,
                )
            self._server = (process, ours)
            children.at_end(self._end)
        return self._server[1]

    def _end(self) -> None:
        if self._server is not None:
            process, ours = self._server
            self._server = None
            ours.close()
            process.wait()


def run_installed(
    argv: Sequence[str | Path], *, environment: Mapping[str, str], stdin: str = "", patience: float = 120
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, in the same way as WarmCommand.run, which shows where its children stand, too."""

    def start(files: Sequence[int], shown: Mapping[str, str]) -> children.Process:
        return subprocess.Popen(argv, env=shown, stdin=files[0], stdout=files[1], stderr=files[2])

    return _run(start, environment, stdin, patience)


def _run(
    start: Callable[[Sequence[int], Mapping[str, str]], children.Process],
    environment: Mapping[str, str],
    stdin: str,
    patience: float,
) -> subprocess.CompletedProcess[str]:
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        files[0].write(stdin.encode())
        files[0].seek(0)
        process = start([file.fileno() for file in files], {**environment, "PYTHONFAULTHANDLER": "1"})
        late = False
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            late = True
            children.end_and_show(process)
        for file in files[1:]:
            file.seek(0)
        out, err = (file.read().decode() for file in files[1:])
    assert not late, f"{' '.join(map(str, process.args))} hangs:\n{out}\n{err}"
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)
