"""One page of a list: the rows that fit what was asked, in order, cut to a page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from valetkey_console.lists.columns import Column, Columns, sort_key
from valetkey_console.lists.list_query import Asked

# Whoever types more of them is no better served: each is looked for in each row.
MOST_WORDS = 8


@dataclass(frozen=True, slots=True)
class Listing:
    """What is shown of a list. `total` counts all there are, `matching` those that fit the search.

    `cut` tells that there are more than the console asked for; `more`, that they come on the pages that follow.
    """

    columns: Columns
    rows: Sequence[Any]
    asked: Asked
    total: int
    matching: int
    cut: bool = False
    more: bool = False

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.matching // self.asked.size))

    @property
    def first(self) -> int:
        """The number of the first row shown, from 1; 0 where there is none."""
        return (self.asked.page - 1) * self.asked.size + 1 if self.rows else 0

    @property
    def last(self) -> int:
        """The number of the last row shown."""
        return self.first + len(self.rows) - 1 if self.rows else 0


def found(columns: Columns, rows: Iterable[Any], asked: Asked) -> list[Any]:
    """Returns the rows that hold each word of the search, of its first MOST_WORDS, in the order asked for."""
    left = list(rows)
    if words := tuple(dict.fromkeys(asked.text.casefold().split()))[:MOST_WORDS]:
        left = [row for row in left if _holds(columns, row, words)]
    column = next((column for column in columns if column.key == asked.sort), None)
    return left if column is None else _sorted(left, column, descending=asked.descending)


def listing(columns: Columns, rows: Sequence[Any], asked: Asked, *, cut: bool = False, more: bool = False) -> Listing:
    """Returns the page asked for, the last one where it lies beyond."""
    fitting = found(columns, rows, asked)
    whole = Listing(columns, fitting, asked, len(rows), len(fitting), cut, more)
    asked = replace(asked, page=min(asked.page, whole.pages))
    start = (asked.page - 1) * asked.size
    shown = fitting[start : start + asked.size]
    needed = [each for each in columns if _needed(each, shown, asked)]
    return replace(whole, columns=needed, rows=shown, asked=asked)


def _needed(column: Column[Any], rows: Iterable[Any], asked: Asked) -> bool:
    """Tells whether a page has something in a column, or is sorted by it."""
    return not column.seldom or column.key == asked.sort or any(column.text(row) for row in rows)


def _holds(columns: Columns, row: Any, words: tuple[str, ...]) -> bool:
    """Tells whether each word is in some cell; having no line ends, none begins in one and ends in another."""
    text = "\n".join(column.text(row) for column in columns).casefold()
    return all(word in text for word in words)


def _sorted(rows: list[Any], column: Column[Any], *, descending: bool) -> list[Any]:
    """Returns rows by a column; those to which it does not apply come last, either way."""
    cells = [(column.value(row), row) for row in rows]
    there = [(cell, row) for cell, row in cells if cell is not None]
    there.sort(key=lambda pair: sort_key(pair[0]), reverse=descending)
    return [row for _, row in there] + [row for cell, row in cells if cell is None]
