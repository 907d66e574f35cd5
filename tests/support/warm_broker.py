"""The command `valetkey-broker` as `support.warm` starts it: its workers are forked from it, too, and not started.

Each worker would import all over again what its supervisor has in memory here.
"""

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

from support.forked import ForkedProcess
from valetkey_broker import worker_supervisor
from valetkey_broker.__main__ import main as run

_MODULE = [sys.executable, "-m", "valetkey_broker"]


def main() -> None:
    """Runs the command line."""
    worker_supervisor.subprocess = SimpleNamespace(  # type: ignore[assignment]
        Popen=_fork_worker, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired
    )
    run()


def _fork_worker(argv: Sequence[str], *, env: Mapping[str, str], pass_fds: Sequence[int], stdin: int) -> ForkedProcess:
    """Does what the supervisor means by Popen."""
    assert list(argv[:3]) == _MODULE, argv
    assert stdin == subprocess.DEVNULL
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    pid = os.fork()
    if not pid:
        # The supervisor's frames are below: nothing may return to them.
        code = 1
        try:
            _become_worker(argv[3:], env, pass_fds)
            run()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:  # noqa: BLE001 (as Python does at the end of a program)
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError):
                    stream.flush()
            os._exit(code)  # Which saves the coverage: see `patch` in pyproject.toml.
    return ForkedProcess(pid, argv)


def _become_worker(arguments: Sequence[str], environment: Mapping[str, str], keep: Sequence[int]) -> None:
    """Leaves of the supervisor what a program that it starts inherits."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for entry in list(Path("/proc/self/fd").iterdir()):
        if int(entry.name) > sys.__stderr__.fileno() and int(entry.name) not in keep:
            with suppress(OSError):
                os.close(int(entry.name))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [_MODULE[0], *arguments]
