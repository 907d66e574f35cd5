"""Reads the command line that loops and scripts start again and again, `token issue`, without Typer.

Loading Typer and the tree of all commands takes three times as long as the call itself. What stands here reads a line
only where it is as plain as lines of scripts are; of any other it says None, and Typer reads it. A test holds the two
against each other: what is read here means the same there.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields

from valetkey.cli.global_options import GlobalOptions
from valetkey.cli.token_issuing import TokenFormat, TokensWanted

_COMMAND = ("token", "issue")
# The global options that take a value, and those of the command, by the names that are read here.
GLOBAL_OPTIONS = {f"--{field.name.replace('_', '-')}": field.name for field in fields(GlobalOptions)}
OPTIONS = {f"--{field.name.replace('_', '-')}": field.name for field in fields(TokensWanted)} | {"-o": "output"}
_REPEATED = ("resource", "permissions")
# Set by a shell that asks what could follow.
_COMPLETION = "_VALETKEY_COMPLETE"


def read(arguments: Sequence[str]) -> tuple[GlobalOptions, TokensWanted] | None:
    """Returns what a plain line of `token issue` asks for, None for every other line."""
    if _COMPLETION in os.environ or not _is_text(arguments):
        return None
    # `--ttl=5m` is `--ttl 5m`.
    arguments = [part for each in arguments for part in (each.split("=", 1) if each.startswith("--") else [each])]
    start = next((place for place in range(0, len(arguments), 2) if not arguments[place].startswith("-")), None)
    if start is None or tuple(arguments[start : start + 2]) != _COMMAND:
        return None
    given = _pairs(arguments[:start], GLOBAL_OPTIONS)
    wanted = _pairs(arguments[start + 2 :], OPTIONS)
    if given is None or wanted is None or any(len(values) > 1 for values in given.values()):
        return None
    if any(len(values) > 1 for name, values in wanted.items() if name not in _REPEATED):
        return None
    output = wanted.pop("output", [TokenFormat.TABLE.value])[0]
    if not all(wanted.get(name) for name in _REPEATED) or output not in list(TokenFormat):
        return None
    once = {name: values[0] for name, values in wanted.items() if name not in _REPEATED}
    return (
        GlobalOptions(**{name: values[0] for name, values in given.items()}),
        TokensWanted(
            resource=wanted["resource"],
            permissions=wanted["permissions"],
            output=TokenFormat(output),
            **once,
        ),
    )


def _is_text(arguments: Sequence[str]) -> bool:
    try:
        "".join(arguments).encode()
    except UnicodeEncodeError:
        return False
    return True


def _pairs(arguments: Sequence[str], options: Mapping[str, str]) -> dict[str, list[str]] | None:
    """Returns the values of each option, by its field; None unless all are options that are known, with a value."""
    if len(arguments) % 2:
        return None
    found: dict[str, list[str]] = {}
    for option, value in zip(arguments[::2], arguments[1::2], strict=True):
        if option not in options or not value or value.startswith("-"):
            return None
        found.setdefault(options[option], []).append(value)
    return found
