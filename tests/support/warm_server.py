"""Has the modules of a command loaded, and forks for each start that it is asked for; `support.warm` asks.

Usage: `python -m support.warm_server DESCRIPTOR MAIN MODULE…`. Nothing of gRPC may be used here, nor any thread
started: neither survives a fork.
"""

import ctypes
import faulthandler
import gc
import importlib
import io
import json
import os
import pkgutil
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

LENGTH = struct.Struct("!I")
# What alembic runs is no module to import, and the commands import no `__main__`. The rest is for other people's tools,
# which are not here.
_NOT_TO_IMPORT = ("__main__", "migrations", "fsspec", "obstore", "polars", "zenml")
# Source: prctl(2), <linux/prctl.h>
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serves until the other end closes; in each child that it forks, becomes the command."""
    control = socket.socket(fileno=int(sys.argv[1]))
    run = _loaded(sys.argv[2], sys.argv[3:])
    gc.collect()
    gc.freeze()  # Else the first collection of each child copies all pages.
    request = _serve(control)
    if request is not None:
        control.close()
        _become(request)
        sys.exit(run())


def _loaded(entry: str, names: list[str]) -> Callable[[], Any]:
    """Imports modules, with `NAME.*` all that a package has; returns the function that `module:function` names.

    What of a package needs an extra that is not installed is left out: the adapters for ZenML, adlfs and their like.
    """
    module, _, function = entry.partition(":")
    run: Callable[[], Any] = getattr(importlib.import_module(module), function)
    for name in names:
        package = importlib.import_module(name.removesuffix(".*"))
        if name.endswith(".*"):
            for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
                if not any(part in _NOT_TO_IMPORT for part in found.name.split(".")):
                    _import_if_installed(found.name)
    return run


def _import_if_installed(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == name.partition(".")[0]:
            raise


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Returns None at the end, and in a child what it is to become."""
    while True:
        head, descriptors, _, _ = socket.recv_fds(control, LENGTH.size, 3)
        if not head:
            return None
        (length,) = LENGTH.unpack(head)
        request: dict[str, Any] = json.loads(control.recv(length, socket.MSG_WAITALL))
        pid = _fork()
        if not pid:
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
                os.close(descriptor)
            return request
        for descriptor in descriptors:
            os.close(descriptor)
        control.sendall(LENGTH.pack(pid))


def _fork() -> int:
    """Forks a child that is an orphan at once, and so goes to the tests; returns its process id, 0 in the child."""
    read, write = os.pipe()
    between = os.fork()
    if not between:
        child = os.fork()
        if child:
            os.write(write, LENGTH.pack(child))
            os._exit(0)
        os.close(read)
        os.close(write)
        return 0
    os.close(write)
    os.waitpid(between, 0)
    (pid,) = LENGTH.unpack(os.read(read, LENGTH.size))
    os.close(read)
    return int(pid)


def _become(request: dict[str, Any]) -> None:
    """Makes this process what one is that somebody has started with these arguments and this environment."""
    if request["new_session"]:
        os.setsid()
    _tie_to(request["parent"])
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["arguments"]
    sys.modules["__main__"] = ModuleType("__main__")  # By it, Typer tells an installed script from `python -m`.
    for name, descriptor, mode, errors in (
        ("stdin", 0, "rb", "strict"),
        ("stdout", 1, "wb", "strict"),
        ("stderr", 2, "wb", "backslashreplace"),
    ):
        binary: Any = open(descriptor, mode, closefd=False)  # noqa: SIM115 (it lives as long as the process)
        stream = io.TextIOWrapper(binary, "utf-8", errors, line_buffering=name == "stderr" or os.isatty(descriptor))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if os.environ.get("PYTHONFAULTHANDLER"):
        faulthandler.enable()
    if any(name.startswith("COVERAGE_PROCESS") for name in os.environ):
        import coverage

        coverage.process_startup(force=True)


def _tie_to(parent: int) -> None:
    """Has this process end when its parent does."""
    while os.getppid() != parent:  # The process between has not quite ended.
        time.sleep(0.001)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) or os.getppid() != parent:
        sys.exit("cannot tie this process to the tests")


if __name__ == "__main__":
    main()
