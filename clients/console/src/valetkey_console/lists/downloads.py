"""A list as a file: CSV that no spreadsheet takes for formulas, and JSON."""

import csv
import io
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from starlette.responses import Response

from valetkey_console.lists.columns import Cell, Column, Columns, text_of

# Spreadsheets compute what begins with these.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def download(kind: str, name: str, columns: Columns, rows: Iterable[Any]) -> Response:
    """Returns the rows as the file `NAME.csv` or `NAME.json`."""
    content, media_type = (
        (as_json(columns, rows), "application/json") if kind == "json" else (as_csv(columns, rows), "text/csv")
    )
    headers = {"Content-Disposition": f'attachment; filename="{name}.{kind}"'}
    return Response(content, media_type=media_type, headers=headers)


def as_csv(columns: Columns, rows: Iterable[Any]) -> str:
    """Returns CSV with a first line of names, each cell in quotes."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow([column.key for column in columns])
    writer.writerows([harmless(column.text(row)) for column in columns] for row in rows)
    return out.getvalue()


def harmless(text: str) -> str:
    """Returns a cell's text, an apostrophe before it where a spreadsheet would compute it."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def as_json(columns: Columns, rows: Iterable[Any]) -> str:
    """Returns a JSON list of objects; times are strings in UTC, spans numbers of seconds."""
    return json.dumps([{column.key: _value(column, row) for column in columns} for row in rows], indent=2) + "\n"


def _value(column: Column[Any], row: Any) -> Any:
    cell: Cell = column.value(row)
    if isinstance(cell, timedelta):
        return cell.total_seconds()
    return list(cell) if isinstance(cell, tuple) else cell if cell is None or isinstance(cell, int) else text_of(cell)
