"""Durations, moments and lists as people type them: the same words as on the command line."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from valetkey import InvalidArgumentError
from valetkey.durations import SHOWN, parse_duration, show_duration
from valetkey.times import parse_moment, utc

# The most of one field: what is longer is nobody's, and no request to the broker.
MOST_TEXT = 20_000


def wrong(field: str, problem: str) -> InvalidArgumentError:
    """Returns the error about one field, by the API's name: as the broker says it, for the same place on the page."""
    return InvalidArgumentError(f"{field}: {problem}", metadata={"field": field})


def duration(text: str, field: str) -> timedelta | None:
    """Returns a duration such as `1h30m` or `90d`; None where nothing is typed.

    Raises InvalidArgumentError. A bare number is none: 15 is as often meant as minutes as it is as seconds.
    """
    text = text.strip()
    if not text:
        return None
    if text.startswith("-") or text.isdecimal():
        raise wrong(field, f"{text[:SHOWN]!r} is not a duration; expected one such as 15m, 1h30m or 90d")
    with _naming(field):
        return parse_duration(text, field)


def moment(text: str, field: str, *, ago: bool = False) -> datetime | None:
    """Returns the moment that an ISO 8601 time names, or that lies a duration ahead; None where nothing is typed.

    With `ago` a duration goes back. A time without a zone is in UTC. Raises InvalidArgumentError.
    """
    if not text.strip():
        return None
    with _naming(field):
        return parse_moment(text, field, ago=ago)


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Gives what is wrong with the text of a field the field's name as the API has it."""
    try:
        yield
    except InvalidArgumentError as error:
        raise wrong(field, error.message.removeprefix(f"{field}: ")) from None


def lines(text: str) -> tuple[str, ...]:
    """Returns what stands in the lines of a field, each once."""
    return tuple(dict.fromkeys(line.strip() for line in text[:MOST_TEXT].splitlines() if line.strip()))


def pairs(given: Iterable[str], field: str) -> dict[str, str]:
    """Returns what lines `KEY=VALUE` say. Raises InvalidArgumentError where one is none, or a key comes twice."""
    found: dict[str, str] = {}
    for line in given:
        key, separator, value = line.partition("=")
        if not separator or not key.strip():
            raise wrong(field, f"{line[:SHOWN]!r} is not KEY=VALUE; expected a line such as namespace=ml")
        if key.strip() in found:
            raise wrong(field, f"{key.strip()[:SHOWN]!r} is given twice; expected one value for each")
        found[key.strip()] = value.strip()
    return found


def as_duration(span: timedelta | None) -> str:
    """Returns a duration as people type it; empty for None."""
    return show_duration(span) if span else ""


def as_moment(time: datetime | None) -> str:
    """Returns a moment as people type it, in UTC; empty for None."""
    return utc(time) if time else ""
