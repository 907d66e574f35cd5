"""Moments as people write them, and as they are shown to them."""

from datetime import UTC, datetime

from valetkey.durations import parse_duration
from valetkey.errors import InvalidArgumentError

# Of what is wrong, so much is said again.
_SHOWN = 50


def utc(moment: datetime) -> str:
    """Returns a moment in UTC to the second, as RFC 3339 writes it: `2026-05-01T12:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_moment(text: str, field: str, *, ago: bool) -> datetime:
    """Returns the moment that an ISO 8601 time names, or that lies a duration away: back with `ago`, else ahead.

    A time without a zone is in UTC, as all times that are shown. Raises InvalidArgumentError where `text` is neither,
    or where the moment lies outside the years 1 to 9999.
    """
    text = text.strip()
    try:
        if text[-1:] in ("d", "h", "m", "s"):
            span = parse_duration(text, field)
            return datetime.now(UTC) + (-span if ago else span)
        if not text.isdigit():  # a bare number could be seconds or a date: it is neither
            moment = datetime.fromisoformat(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise InvalidArgumentError(f"{field}: {text[:_SHOWN]} lies outside the years 1 to 9999") from None
    except ValueError:
        pass
    raise InvalidArgumentError(
        f"{field}: {text[:_SHOWN]!r} is no time; expected a duration such as 1h or 90d, "
        "or one such as 2026-05-01T12:00:00Z"
    )
