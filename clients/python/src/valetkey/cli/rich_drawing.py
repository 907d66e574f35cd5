"""What a screen draws with Rich: headings, tables, colours. A command that only prints lines goes without it."""

import os
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Into a pipe or a file a table goes as wide as it is: wrapped cells cannot be searched or cut.
_UNLIMITED = 20_000


def console(stream: Any) -> Console:
    """Returns what draws on a stream: at a terminal, and where COLUMNS is set, as wide as they say."""
    width = None if stream.isatty() or os.environ.get("COLUMNS", "").isdecimal() else _UNLIMITED
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def one_line(out: Console, text: str, style: str) -> None:
    """Draws a line that does not wrap."""
    out.print(Text(text, style=style), soft_wrap=True)


def labelled(out: Console, label: str, style: str, text: str) -> None:
    """Draws a line that begins with a word in a style of its own."""
    out.print(Text(label, style=style) + Text(text, style="default"), soft_wrap=True)


def paragraph(out: Console, text: str) -> None:
    """Draws a text, wrapped between words at a terminal."""
    out.print(Text(text))


def table(out: Console, columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, rules: bool) -> None:
    """Draws a table or, where that would have to break words, such as names, each row as lines of its own."""
    shown = [[Text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    cells = [[column, *(row[number].plain for row in shown)] for number, column in enumerate(columns)]
    if widths := _widths(cells, out.width - 3 * len(columns) - 1):  # blanks and lines
        drawn = Table(box=box.HEAVY_EDGE, show_lines=rules)
        for column, width in zip(columns, widths, strict=True):
            drawn.add_column(column, overflow="fold", width=width)
        for row in shown:
            drawn.add_row(*row)
        out.print(drawn)
        return
    for row in shown:
        for column, cell in zip(columns, row, strict=True):
            if cell.plain:
                out.print(Text(f"{column}: ", style="bold") + cell, soft_wrap=True)
        if rules:
            out.print()


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
