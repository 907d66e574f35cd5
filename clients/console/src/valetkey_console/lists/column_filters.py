"""Filters of a list by single columns, for what the broker does not filter itself."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from valetkey_console.lists.columns import Columns, text_of

Row = TypeVar("Row")
# A menu of more is no help, and makes the page large; the search finds the rest.
MOST_CHOICES = 100


def filtered(rows: Iterable[Row], columns: Columns, filters: Mapping[str, str]) -> list[Row]:
    """Returns the rows whose columns say just what the filters of their names say; empty filters let all through."""
    left = list(rows)
    for column in columns:
        if wanted := filters.get(column.key, ""):
            left = [row for row in left if _says(column.value(row), wanted)]
    return left


def choices(found: Iterable[str | None]) -> list[str]:
    """Returns what a filter can be set to, in order."""
    return sorted({each for each in found if each})[:MOST_CHOICES]


def _says(cell: object, wanted: str) -> bool:
    return wanted in cell if isinstance(cell, tuple) else text_of(cell) == wanted  # type: ignore[arg-type]
