"""Writes docs/commands.md: every command of ours, as its --help describes it.

`make commands` runs it. With --check it changes nothing, and ends with 1 where the page is not current.
"""

import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from typer.main import get_command

from valetkey.cli.app import app as client
from valetkey_broker.cli.commands import app as broker
from valetkey_console.cli import app as console
from valetkey_devstack.cli import app as dev_stack

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
_START = """# Every command

What `--help` says, on one page, which is made from it. How the commands are used: [The `valetkey` command](cli.md).
"""
# Told of every command alike.
_ALIKE = ("help", "install_completion", "show_completion")


def page() -> str:
    """Returns the page, anew."""
    whole = (
        (client, "valetkey"),
        (broker, "valetkey-broker"),
        (dev_stack, "valetkey-broker dev"),
        (console, "valetkey-console"),
    )
    return _START + "".join(text for app, name in whole for text in _told(get_command(app), name))


def _told(command: Any, name: str) -> Iterator[str]:
    """Gives the command, then those below it; one that only hands its words on tells nothing."""
    below = getattr(command, "commands", {})
    if command.hidden:
        return
    if not command.context_settings.get("ignore_unknown_options"):
        words = "".join(f" {_metavar(each)}" for each in command.params if each.param_type_name == "argument")
        yield f"\n## `{name}{words}{' COMMAND' if below else ''}`\n\n{_paragraphs(command.help)}"
        rows = [_row(each) for each in command.params if each.name not in _ALIKE and not getattr(each, "hidden", False)]
        if rows:
            yield "\n| | what it is |\n| --- | --- |\n" + "".join(rows)
    for word, each in below.items():
        yield from _told(each, f"{name} {word}")


def _metavar(argument: Any) -> str:
    name = (argument.metavar or argument.human_readable_name).strip("[]").upper()
    return name if argument.required else f"[{name}]"


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = f"`{_metavar(parameter)}`"
    else:
        names = ", ".join(f"`{each}`" for each in (*parameter.opts, *parameter.secondary_opts))
    choices = _choices(parameter.type_descriptor.annotation)
    parts = [
        _line(getattr(parameter, "help", "") or ""),
        f"One of {', '.join(f'`{each}`' for each in map(_value, choices))}." if choices else "",
        "Required." if parameter.required else "",
        f"Default: `{_value(parameter.default)}`." if _has_default(parameter) else "",
    ]
    return f"| {names} | {' '.join(filter(None, parts))} |\n"


def _choices(annotation: Any) -> list[Enum]:
    """Returns what an option may be, where that is a list."""
    one = next(iter(get_args(annotation)), annotation)
    return list(one) if isinstance(one, type) and issubclass(one, Enum) else []


def _has_default(parameter: Any) -> bool:
    if parameter.required or getattr(parameter, "is_flag", False) or not getattr(parameter, "show_default", True):
        return False
    return isinstance(parameter.default, str | int | float | Path) and _value(parameter.default) != ""


def _value(value: Any) -> str:
    return str(getattr(value, "value", value))


def _paragraphs(text: str | None) -> str:
    parts = re.split(r"\n\s*\n", (text or "").replace("\b", "").strip())
    return "".join(f"{_line(part)}\n" + ("\n" if part is not parts[-1] else "") for part in parts)


def _line(text: str) -> str:
    """Returns a text as a line that may stand in a table; what is not code holds no tags."""
    line = " ".join(text.split()).replace("|", "\\|")
    return "`".join(part if n % 2 else re.sub(r"([<*_\[])", r"\\\1", part) for n, part in enumerate(line.split("`")))


def main() -> None:
    """Writes the page, or with --check says whether it is current."""
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
        return
    if "--check" in sys.argv:
        sys.exit("docs/commands.md is not current; run: make commands")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
