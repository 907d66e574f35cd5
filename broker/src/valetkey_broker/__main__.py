"""The way in: `python -m valetkey_broker` is `valetkey-broker`."""

import os
import signal
import sys
from functools import partial
from importlib import import_module

from valetkey_broker.cli.serve_fast_path import ServeCommand, plainly_served
from valetkey_broker.cli.standard_files import open_closed_standard_files
from valetkey_broker.concurrency.garbage_collection import loading_modules
from valetkey_broker.concurrency.interrupts import hangups_end_nothing, interrupts_end_at_once

_TERMINATED = 128 + signal.SIGTERM


def start(module: str) -> None:
    """Imports a module and runs its `main`. Ctrl-C during the imports ends with 130."""
    with interrupts_end_at_once(), loading_modules():
        run = import_module(module).main
    run()


def start_to_serve(command: ServeCommand) -> None:
    """Imports what serves, and nothing besides, and runs it. Ctrl-C during the imports ends with 130."""
    with interrupts_end_at_once(), loading_modules():
        _load_structlog_alone()
        run_to_the_end = import_module("valetkey_broker.cli.exit_codes").run_to_the_end
        serve = getattr(import_module("valetkey_broker.cli.serve"), command.function)
    run_to_the_end(partial(serve, *command.arguments))


def _load_structlog_alone() -> None:
    # It loads rich where that is installed, which typer sees to, for tracebacks on a terminal: no line of ours has one.
    if "structlog" not in sys.modules and "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment]  # As Python has it: what is None cannot be imported.
        import_module("structlog")
        del sys.modules["rich"]


def main() -> None:
    """Runs the command line."""
    if os.getpid() == 1:
        # The first process of a container gets no signal that it has no handler for: without one, a stop amid the
        # imports would last until SIGKILL. Who serves puts a better one in its place.
        signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(_TERMINATED))
    if sys.argv[1:2] in (["serve"], ["worker"]):
        hangups_end_nothing()
        open_closed_standard_files()
    if sys.argv[1:2] == ["health"] and {"--help", "-h"}.isdisjoint(sys.argv):
        # A probe comes every few seconds: it does without the command line, whose loading costs more than all it does.
        from valetkey_broker.cli.health_probe import probe_as_told  # noqa: PLC0415

        sys.exit(probe_as_told(sys.argv[2:]))
    serving = plainly_served(sys.argv[1:], os.environ)
    if serving is not None:
        start_to_serve(serving)
    else:
        start("valetkey_broker.cli.commands")


if __name__ == "__main__":
    main()
