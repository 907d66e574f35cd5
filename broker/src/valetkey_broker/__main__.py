"""The way in: `python -m valetkey_broker` is `valetkey-broker`."""

from importlib import import_module

from valetkey_broker.concurrency.interrupts import interrupts_end_at_once


def start(module: str) -> None:
    """Imports a module and runs its `main`. Ctrl-C during the imports ends with 130."""
    with interrupts_end_at_once():
        run = import_module(module).main
    run()


def main() -> None:
    """Runs the command line."""
    start("valetkey_broker.cli")


if __name__ == "__main__":
    main()
