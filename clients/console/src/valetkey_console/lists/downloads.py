"""A list as a file: CSV that no spreadsheet takes for formulas, and JSON."""

import csv
import io
import json
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from starlette.responses import Response

from valetkey_console.lists.columns import Cell, Column, Columns, text_of

# Spreadsheets compute what begins with these, the wide ones in East Asia, whatever blank stands before them.
_BLANK = "(?:[^\\S;\t\r\n]|[\x00\ufeff\u200b-\u200f\u2060])*"
_SIGN = "[-=+@\uff0d\uff1d\uff0b\uff20]"
_BEGINS = re.compile(rf"[\t\r\n]|\s*{_BLANK}{_SIGN}")
# Where `;` or a tab divides cells, or quotes do not keep a line together, a cell begins behind these, too.
_BEGINS_INSIDE = re.compile(rf"([;\t\r\n]{_BLANK})(?={_SIGN})")


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
    """Returns a cell's text, an apostrophe before whatever of it a spreadsheet would compute."""
    start = len(text) - len(text.lstrip())
    inside = text[:start] + _BEGINS_INSIDE.sub(r"\1'", text[start:])
    return f"'{inside}" if _BEGINS.match(text) else inside


def as_json(columns: Columns, rows: Iterable[Any]) -> str:
    """Returns a JSON list of objects; times are strings in UTC, spans numbers of seconds."""
    return json.dumps([{column.key: _value(column, row) for column in columns} for row in rows], indent=2) + "\n"


def _value(column: Column[Any], row: Any) -> Any:
    cell: Cell = column.value(row)
    if isinstance(cell, timedelta):
        return cell.total_seconds()
    return list(cell) if isinstance(cell, tuple) else cell if cell is None or isinstance(cell, int) else text_of(cell)
