"""The way in: `python -m valetkey_broker` is `valetkey-broker`."""

import os
import signal
import sys
from importlib import import_module

from valetkey_broker.concurrency.interrupts import interrupts_end_at_once

_TERMINATED = 128 + signal.SIGTERM


def start(module: str) -> None:
    """Imports a module and runs its `main`. Ctrl-C during the imports ends with 130."""
    with interrupts_end_at_once():
        run = import_module(module).main
    run()


def main() -> None:
    """Runs the command line."""
    if os.getpid() == 1:
        # The first process of a container gets no signal that it has no handler for: without one, a stop amid the
        # imports would last until SIGKILL. Who serves puts a better one in its place.
        signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(_TERMINATED))
    if sys.argv[1:2] == ["health"] and {"--help", "-h"}.isdisjoint(sys.argv):
        # A probe comes every few seconds: it does without the command line, whose loading costs more than all it does.
        from valetkey_broker.rpc.health_probe import probe_as_told  # noqa: PLC0415

        sys.exit(probe_as_told(sys.argv[2:]))
    start("valetkey_broker.cli")


if __name__ == "__main__":
    main()
