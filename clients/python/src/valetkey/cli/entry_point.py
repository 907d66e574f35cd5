"""Runs one command line from its arguments to its exit code; nothing it does ends in a traceback."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

from valetkey.cli import error_output, token_issue_fast_path, token_issuing
from valetkey.cli.screen import Screen
from valetkey.errors import ValetKeyError


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    if sys.stderr is None:  # closed by the shell
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (as long as the process)
    if sys.stdout is None:
        sys.stderr.write("Error: standard output is closed; expected somewhere to write the result to\n")
        return error_output.REFUSED
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 still shows the rest
    screen = Screen(as_json=_wants_json(arguments))
    try:
        code = _run(arguments, screen)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return error_output.INTERRUPTED
    except OSError as error:
        # Python must not try to flush the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # the reader, such as `head`, has seen enough
            message = f"{error.filename or 'the output'}: cannot be written: {error.strerror or type(error).__name__}"
            with suppress(OSError):  # standard error may stand on the same full disk
                screen.error(message, "", {"message": message})
        return error_output.REFUSED
    except Exception as error:  # noqa: BLE001 (whatever is left is a defect; its text could hold a secret)
        message = f"unexpected {type(error).__name__}: this is a defect of valetkey; please report it"
        screen.error(message, "", {"message": message})
        return error_output.REFUSED
    return code


def _run(arguments: Sequence[str], screen: Screen) -> int:
    if (plain := token_issue_fast_path.read(arguments)) is None:
        from valetkey.cli import app  # noqa: PLC0415 (Typer and all commands load here)

        return app.run_line(arguments, screen)
    try:
        return token_issuing.issue(*plain)
    except ValetKeyError as error:
        from valetkey.cli import app  # noqa: PLC0415

        return app.say(error, arguments, screen)


def _wants_json(arguments: Sequence[str]) -> bool:
    # Known before the arguments are parsed, so that errors of parsing come as JSON too.
    pairs = zip_longest(arguments, arguments[1:])
    return any(
        argument in ("-ojson", "-o=json", "--output=json") or (argument in ("-o", "--output") and following == "json")
        for argument, following in pairs
    )
