"""What a command shows: data on standard output, everything else on standard error."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_LINES = {chr(number) for number in range(0x2500, 0x2580)}


class OutputFormat(StrEnum):
    """How a command shows its data."""

    TABLE = "table"
    JSON = "json"


class Screen:
    """Standard output and standard error of one command; both take the broker's texts as text, never as markup."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._streams = sys.stdout, sys.stderr

    def json(self, value: Any) -> None:
        """Prints a value as JSON to standard output."""
        sys.stdout.write(_json(value, indent=2) + "\n")

    def json_line(self, value: Any) -> None:
        """Prints a value as one line of JSON to standard output, at once: whoever follows waits for it."""
        sys.stdout.write(_json(value) + "\n")
        self.flush()

    def flush(self) -> None:
        """Sends on what was printed so far: into a pipe it would wait for more."""
        sys.stdout.flush()

    def line(self, text: str) -> None:
        """Prints one line to standard output as it is, without wrapping."""
        sys.stdout.write(printable(text) + "\n")

    def heading(self, text: str) -> None:
        """Prints a heading to standard output."""
        _drawing().one_line(self._out, printable(text), "bold")

    def step(self, text: str) -> None:
        """Prints the heading of a step to standard error."""
        _drawing().one_line(self._err, f"\n{printable(text)}", "bold")

    def text(self, text: str) -> None:
        """Prints a paragraph to standard output, wrapped between words at a terminal."""
        _drawing().paragraph(self._out, printable(text))

    def table(
        self,
        columns: Sequence[str],
        rows: "Iterable[Sequence[str | Text]]",
        *,
        rules: bool = True,
        aside: bool = False,
    ) -> None:
        """Prints a table to standard output, with rules between the rows unless told otherwise.

        With `aside`, it goes to standard error. Where it would have to break words, such as names, each row is printed
        as lines of its own instead.
        """
        shown = [[printable(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
        _drawing().table(self._err if aside else self._out, columns, shown, rules=rules)

    def properties(self, rows: Iterable[tuple[str, str]]) -> None:
        """Prints names and values as a table of two columns, leaving out what has no value."""
        self.table(["PROPERTY", "VALUE"], [row for row in rows if row[1]], rules=False)

    def note(self, text: str) -> None:
        """Prints a remark to standard error."""
        self._remark("note", "Note: ", "cyan", text)

    def progress(self, text: str) -> None:
        """Says to a person, on standard error, what is done now; scripts hear of it at the end."""
        if not self.as_json:
            _drawing().one_line(self._err, printable(text), "dim")

    def warn(self, text: str) -> None:
        """Prints a warning to standard error."""
        self._remark("warning", "Warning: ", "yellow", text)

    def error(self, text: str, facts: str, as_json: dict[str, Any]) -> None:
        """Prints an error and, dimmed, what helps to look it up, to standard error."""
        if self.as_json:
            self._json_remark({"error": as_json})
            return
        _drawing().labelled(self._err, "Error: ", "bold red", printable(text))
        if facts:
            _drawing().one_line(self._err, printable(facts), "dim")

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Turns a spinner on standard error while the block runs, if a person is looking."""
        if self._err.is_terminal and not self.as_json:
            with self._err.status(text):
                yield
        else:
            yield

    @cached_property
    def _out(self) -> "Console":
        drawn: Console = _drawing().console(self._streams[0])
        return drawn

    @cached_property
    def _err(self) -> "Console":
        drawn: Console = _drawing().console(self._streams[1])
        return drawn

    def _remark(self, key: str, label: str, style: str, text: str) -> None:
        if self.as_json:
            self._json_remark({key: text})
        else:
            _drawing().labelled(self._err, label, style, printable(text))

    def _json_remark(self, value: Any) -> None:
        sys.stderr.write(_json(value) + "\n")


def _drawing() -> Any:
    from valetkey.cli import rich_drawing  # noqa: PLC0415 (loads Rich: as long as a call takes, and most lines do without)

    return rich_drawing


def printable(text: str) -> str:
    """Returns `text` for a terminal: escaped are control characters but line breaks, and what draws a table's lines."""
    return "".join(
        character
        if (character.isprintable() and character not in _LINES) or character == "\n"
        else ascii(character)[1:-1]
        for character in text
    )


def _json(value: Any, indent: int | None = None) -> str:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    # JSON leaves some characters as they are that drive terminals, or turn the direction of writing.
    return "".join(
        character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1] for character in text
    )
