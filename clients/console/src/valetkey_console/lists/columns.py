"""The columns of a list: what a row says in each, for people, for searching, for sorting and for files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from valetkey.times import utc

Row = TypeVar("Row")
# What a cell can hold; None stands for "does not apply".
Cell = str | int | bool | datetime | timedelta | tuple[str, ...] | None


# Without slots: Python 3.11 cannot make a Column[Row] of a frozen class that has them.
@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column. `link` gives the path of a page about the row, without our base path.

    `key` names it in addresses and in files. `look` is a class of the style sheet, such as `code` or `state`;
    `code who` is for principals, which pages shorten. One that is `seldom` filled is left out of pages that have
    nothing for it; files have it always.
    """

    key: str
    title: str
    value: Callable[[Row], Cell]
    link: Callable[[Row], str] | None = None
    look: str = ""
    seldom: bool = False

    def text(self, row: Row) -> str:
        """Returns the cell as one line of text, as people search for it and as CSV has it."""
        return text_of(self.value(row))


Columns = Sequence[Column[Any]]


def text_of(cell: Cell) -> str:
    """Returns a cell as text: times in UTC, spans in seconds."""
    match cell:
        case None:
            return ""
        case bool():
            return "yes" if cell else "no"
        case datetime():
            return utc(cell)
        case timedelta():
            return f"{cell.total_seconds():g} s"
        case tuple():
            return ", ".join(cell)
        case _:
            return str(cell)


def sort_key(cell: Cell) -> Any:
    """Returns what a cell is sorted by, which is of one kind within a column."""
    return cell.casefold() if isinstance(cell, str) else cell
