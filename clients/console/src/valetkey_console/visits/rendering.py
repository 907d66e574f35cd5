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

from valetkey_console.broker.field_labels import api_name, label
from valetkey_console.lists.columns import Cell, text_of

STATIC = Path(__file__).parents[1] / "static"
# What hides something or cannot be seen is to be read: control characters but tab and newline, Unicode's categories
# Cf, Co, Cs, Zl and Zp, letters that are blank, what chooses a variant, and tags. A list, for asking of each character
# takes long; a test holds it against Python's own.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\uf8ff\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U0010ffff]"
)
_IN_NO_LINE = re.compile(f"[\t\n]|{_INVISIBLE.pattern}")
# A command is the program, what it is about, and what it does: `valetkey grant describe`.
_VERB = 3
# Characters of a principal in a list: of a longer one so many of its beginning, and so many of its end.
_LONG_WHO, _WHO_BEGINS, _WHO_ENDS = 60, 16, 40
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
        api_name=api_name,
        label=label,
    )
    made.filters.update(moment=moment, span=span, cell=cell, who=who, attributes=attributes)
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


def who(value: Cell) -> Markup:
    """Returns principals for a list, long ones without their middle: their ends tell people apart, not their issuer.

    The whole is what one sees by pointing at it, on the page of its own, and in files.
    """
    if isinstance(value, tuple):
        return Markup(", ").join(map(who, value))
    text = str(visible(text_of(value)))
    if len(text) <= _LONG_WHO:
        return escape(text)
    return Markup('<span title="{}">{}…{}</span>').format(text, text[:_WHO_BEGINS], text[-_WHO_ENDS:])


def attributes(values: Mapping[str, str]) -> tuple[str, ...]:
    """Returns names and values, such as labels, as lines `NAME=VALUE`."""
    return tuple(f"{name}={value}" for name, value in values.items())


def command(*words: str, of: str = "") -> str:
    """Returns a command line that a shell takes as these words; control characters make none.

    What the command is `of`, such as a name, stands behind its first three words. Where it would be taken for an
    option, it comes last, behind `--`: people copy what somebody else may have put into the address of a page.
    """
    if of.startswith("-"):
        words = (*words, "--", of)
    elif of:
        words = (*words[:_VERB], of, *words[_VERB:])
    return shlex.join(_IN_NO_LINE.sub("?", word) for word in words)


def option(name: str) -> str:
    """Returns the option that gives a field of the API."""
    return f"--{name.replace('_', '-')}"


def by_option(filters: Mapping[str, str], *names: str) -> list[str]:
    """Returns the filters of a list that are set as options of the same by command."""
    return [word for name in names if (value := filters.get(name)) for word in (option(name), value)]


@cache
def _version(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
