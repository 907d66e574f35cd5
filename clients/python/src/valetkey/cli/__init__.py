"""The `valetkey` command. Needs the extra `cli`: Typer and Rich."""

import os
import sys
from contextlib import suppress

_EXTRAS = ("typer", "rich", "click")


def main() -> None:
    """Runs the command line and exits: 0 ok, 1 refused, 2 usage, 3 not permitted, 4 not found, 5 unavailable."""
    # gRPC's core writes its own log lines to standard error; the command says the same in words.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from valetkey.cli.entry_point import run  # noqa: PLC0415 (nothing may be imported before the guard stands)

        code = run(sys.argv[1:])
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRAS:
            raise
        sys.stderr.write(
            "Error: the command line is not installed, only the library; "
            'install valetkey[cli], for example with: pip install "valetkey[cli]"\n'
        )
        code = 2
    except KeyboardInterrupt:
        code = 130
    _end(code)


def _end(code: int) -> None:
    """Ends the process without taking Python and gRPC down in an orderly way, in which they can hang for ever."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # Closed, or its reader has gone: said by now.
            stream.flush()
    os._exit(code)
