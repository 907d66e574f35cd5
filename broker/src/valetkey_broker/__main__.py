"""The way in: `python -m broker` is `valetkey-broker`."""

import os
import signal
from importlib import import_module

_INTERRUPTED = 130


def start(module: str) -> None:
    """Imports a module and runs its `main`. Ctrl-C during the imports, which take a second, ends with 130."""
    # Nothing has begun, so nothing needs cleaning up; a KeyboardInterrupt amid imports would show as a traceback.
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(_INTERRUPTED))
    run = import_module(module).main
    if heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def main() -> None:
    """Runs the command line."""
    start("valetkey_broker.cli")


if __name__ == "__main__":
    main()
