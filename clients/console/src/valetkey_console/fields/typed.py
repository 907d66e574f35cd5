"""Durations, moments and lists as people type them: the same words as on the command line."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from valetkey import InvalidArgumentError

# The most of one field: what is longer is nobody's, and no request to the broker.
MOST_TEXT = 20_000
UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PARTS = re.compile(r"(?:[0-9]{1,10}[dhms])+", re.ASCII)


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
    if not _PARTS.fullmatch(text):
        raise wrong(field, f"{text[:50]!r} is not a duration; expected one such as 15m, 1h30m or 90d")
    seconds = sum(int(part[:-1]) * UNITS[part[-1]] for part in re.findall("[0-9]+[dhms]", text))
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise wrong(field, f"{text[:50]} is longer than a duration can be; expected days") from None


def moment(text: str, field: str) -> datetime | None:
    """Returns the moment that an ISO 8601 time names, or that lies a duration ahead; None where nothing is typed.

    A time without a zone is in UTC. Raises InvalidArgumentError.
    """
    text = text.strip()
    try:
        if _PARTS.fullmatch(text):
            span = duration(text, field)
            return None if span is None else datetime.now(UTC) + span
        if not text:
            return None
        if not text.isdecimal():
            return iso_moment(text)
    except OverflowError:
        raise wrong(field, f"{text[:50]} lies outside the years 1 to 9999") from None
    except ValueError:
        pass
    raise wrong(
        field, f"{text[:50]!r} is not a time; expected a duration such as 90d, or a time such as 2026-12-31T00:00:00Z"
    )


def iso_moment(text: str) -> datetime:
    """Returns the moment that an ISO 8601 time names, in UTC without a zone. Raises ValueError or OverflowError."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def lines(text: str) -> tuple[str, ...]:
    """Returns what stands in the lines of a field, each once."""
    return tuple(dict.fromkeys(line.strip() for line in text[:MOST_TEXT].splitlines() if line.strip()))


def pairs(given: Iterable[str], field: str) -> dict[str, str]:
    """Returns what lines `KEY=VALUE` say. Raises InvalidArgumentError where one is none, or a key comes twice."""
    found: dict[str, str] = {}
    for line in given:
        key, separator, value = line.partition("=")
        if not separator or not key.strip():
            raise wrong(field, f"{line[:50]!r} is not KEY=VALUE; expected a line such as namespace=ml")
        if key.strip() in found:
            raise wrong(field, f"{key.strip()[:50]!r} is given twice; expected one value for each")
        found[key.strip()] = value.strip()
    return found


def as_duration(span: timedelta | None) -> str:
    """Returns a duration as people type it; empty for None."""
    left, parts = int(span.total_seconds()) if span else 0, []
    for unit, seconds in UNITS.items():
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def as_moment(time: datetime | None) -> str:
    """Returns a moment as people type it, in UTC; empty for None."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if time else ""
