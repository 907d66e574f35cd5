"""Templates, and how values are told in them: escaped, with nothing invisible, times for the reader's zone."""

import hashlib
import re
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from valetkey_console.lists.columns import Cell, text_of

STATIC = Path(__file__).parents[1] / "static"
# Control characters, and those that turn the direction of text or cannot be seen: what they hide is to be read.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def environment(base_path: str) -> Environment:
    """Returns the templates of a console whose paths begin with `base_path`."""
    made = Environment(
        loader=PackageLoader("valetkey_console"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        url=lambda path: f"{base_path}{path}",
        static=lambda name: f"{base_path}/static/{name}?v={_version(name)}",
        segment=segment,
        command=command,
    )
    made.filters.update(moment=moment, span=span, cell=cell, attributes=attributes)
    return made


def visible(value: Any) -> Any:
    """Returns a value for a page: text with what cannot be seen written out, and nothing for None."""
    if value is None:
        return ""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _INVISIBLE.sub(lambda found: f"\\u{{{ord(found[0]):x}}}", value)


def segment(name: str) -> str:
    """Returns a name as one segment of a path."""
    return quote(name, safe="")


def moment(value: datetime | None) -> Markup:
    """Returns a time as UTC, which a script shows in the reader's zone; nothing for None."""
    if value is None:
        return Markup()
    utc = value.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(f"{utc:%Y-%m-%dT%H:%M:%SZ}", f"{utc:%Y-%m-%d %H:%M:%S} UTC")


def span(value: timedelta | None) -> str:
    """Returns a span of time in its two largest units, such as `1 h 30 min`."""
    if value is None:
        return ""
    left, parts = int(value.total_seconds()), []
    for seconds, unit in _UNITS:
        if left >= seconds:
            parts.append(f"{left // seconds} {unit}")
            left %= seconds
    return " ".join(parts[:2]) or "0 s"


def cell(value: Cell) -> Markup:
    """Returns what a cell of a list shows."""
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, timedelta):
        return escape(span(value))
    return escape(visible(text_of(value)))


def attributes(values: Mapping[str, str]) -> tuple[str, ...]:
    """Returns names and values, such as labels, as lines `NAME=VALUE`."""
    return tuple(f"{name}={value}" for name, value in values.items())


def command(*words: str) -> str:
    """Returns a command line that a shell takes as these words; control characters make none."""
    return shlex.join(_INVISIBLE.sub("?", word) for word in words)


@cache
def _version(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
