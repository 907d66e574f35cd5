"""What a command shows: data on standard output, everything else on standard error."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Into a pipe or a file a table goes as wide as it is: wrapped cells cannot be searched or cut.
_UNLIMITED = 20_000
_LINES = {chr(number) for number in range(0x2500, 0x2580)}


class OutputFormat(StrEnum):
    """How a command shows its data."""

    TABLE = "table"
    JSON = "json"


Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="How to show the result.", show_default=True)]


class Screen:
    """Standard output and standard error of one command; both take the broker's texts as text, never as markup."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out = _console(sys.stdout)
        self._err = _console(sys.stderr)

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
        self._out.print(Text(printable(text), style="bold"), soft_wrap=True)

    def step(self, text: str) -> None:
        """Prints the heading of a step to standard error."""
        self._err.print(Text(f"\n{printable(text)}", style="bold"), soft_wrap=True)

    def text(self, text: str) -> None:
        """Prints a paragraph to standard output, wrapped between words at a terminal."""
        self._out.print(Text(printable(text)))

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str | Text]],
        *,
        rules: bool = True,
        aside: bool = False,
    ) -> None:
        """Prints a table to standard output, with rules between the rows unless told otherwise.

        With `aside`, it goes to standard error. Where it would have to break words, such as names, each row is printed
        as lines of its own instead.
        """
        shown = [[Text(printable(cell)) if isinstance(cell, str) else cell for cell in row] for row in rows]
        out = self._err if aside else self._out
        cells = [[column, *(row[number].plain for row in shown)] for number, column in enumerate(columns)]
        if widths := _widths(cells, out.width - 3 * len(columns) - 1):  # blanks and lines
            table = Table(box=box.HEAVY_EDGE, show_lines=rules)
            for column, width in zip(columns, widths, strict=True):
                table.add_column(column, overflow="fold", width=width)
            for row in shown:
                table.add_row(*row)
            out.print(table)
            return
        for row in shown:
            for column, cell in zip(columns, row, strict=True):
                if cell.plain:
                    out.print(Text(f"{column}: ", style="bold") + cell, soft_wrap=True)
            if rules:
                out.print()

    def properties(self, rows: Iterable[tuple[str, str]]) -> None:
        """Prints names and values as a table of two columns, leaving out what has no value."""
        self.table(["PROPERTY", "VALUE"], [row for row in rows if row[1]], rules=False)

    def note(self, text: str) -> None:
        """Prints a remark to standard error."""
        self._remark("note", "Note: ", "cyan", text)

    def progress(self, text: str) -> None:
        """Says to a person, on standard error, what is done now; scripts hear of it at the end."""
        if not self.as_json:
            self._err.print(Text(printable(text), style="dim"), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Prints a warning to standard error."""
        self._remark("warning", "Warning: ", "yellow", text)

    def error(self, text: str, facts: str, as_json: dict[str, Any]) -> None:
        """Prints an error and, dimmed, what helps to look it up, to standard error."""
        if self.as_json:
            self._json_remark({"error": as_json})
            return
        self._err.print(Text("Error: ", style="bold red") + Text(printable(text), style="default"), soft_wrap=True)
        if facts:
            self._err.print(Text(printable(facts), style="dim"), soft_wrap=True)

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Turns a spinner on standard error while the block runs, if a person is looking."""
        if self._err.is_terminal and not self.as_json:
            with self._err.status(text):
                yield
        else:
            yield

    def _remark(self, key: str, label: str, style: str, text: str) -> None:
        if self.as_json:
            self._json_remark({key: text})
        else:
            self._err.print(Text(label, style=style) + Text(printable(text), style="default"), soft_wrap=True)

    def _json_remark(self, value: Any) -> None:
        sys.stderr.write(_json(value) + "\n")


def printable(text: str) -> str:
    """Returns `text` for a terminal: escaped are control characters but line breaks, and what draws a table's lines."""
    return "".join(
        character
        if (character.isprintable() and character not in _LINES) or character == "\n"
        else ascii(character)[1:-1]
        for character in text
    )


def _widths(columns: Sequence[Sequence[str]], available: int) -> list[int]:
    """Returns a width for each column that breaks no word; empty where there is none.

    Rich shrinks columns below what it is told that they need at least, and cuts the last ones off.
    """
    longest = [max((cell_len(word) for cell in cells for word in cell.split()), default=1) for cells in columns]
    whole = [max((cell_len(line) for cell in cells for line in cell.split("\n")), default=1) for cells in columns]
    spare = available - sum(longest)
    if spare < 0:
        return []
    widths = list(longest)
    # Those that lack least first: what they leave over is for the others.
    lacking = sorted(range(len(columns)), key=lambda number: whole[number] - longest[number])
    for done, number in enumerate(lacking):
        more = min(whole[number] - longest[number], spare // (len(lacking) - done))
        widths[number] += more
        spare -= more
    return widths


def _json(value: Any, indent: int | None = None) -> str:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    # JSON leaves some characters as they are that drive terminals, or turn the direction of writing.
    return "".join(
        character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1] for character in text
    )


def _console(stream: Any) -> Console:
    # At a terminal and where COLUMNS is set, as wide as they say.
    width = None if stream.isatty() or os.environ.get("COLUMNS", "").isdecimal() else _UNLIMITED
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
