"""Moments as people write them, and as they are shown to them."""

from datetime import UTC, datetime, timedelta

from valetkey.durations import SHOWN, is_duration, parse_duration
from valetkey.errors import InvalidArgumentError


def utc(moment: datetime) -> str:
    """Returns a moment in UTC to the second, as RFC 3339 writes it: `2026-05-01T12:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_moment(text: str, field: str, *, ago: bool) -> datetime:
    """Returns the moment that an ISO 8601 time names, or that lies a duration away: back with `ago`, else ahead.

    A time without a zone is in UTC, as all times that are shown. Raises InvalidArgumentError where `text` is neither,
    goes back by less than nothing, or where the moment lies outside the years 1 to 9999.
    """
    text = text.strip()
    try:
        if text[-1:] in ("d", "h", "m", "s") and is_duration(text):
            span = parse_duration(text, field)
            if ago and span < timedelta():
                raise InvalidArgumentError(f"{field}: {text[:SHOWN]} lies ahead; expected 0s or more, such as 1h")
            return datetime.now(UTC) + (-span if ago else span)
        if not text.isdigit():  # a bare number could be seconds or a date: it is neither
            moment = datetime.fromisoformat(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise InvalidArgumentError(f"{field}: {text[:SHOWN]} lies outside the years 1 to 9999") from None
    except ValueError:
        pass
    raise InvalidArgumentError(
        f"{field}: {text[:SHOWN]!r} is no time; expected a duration such as 1h or 90d, "
        "or one such as 2026-05-01T12:00:00Z"
    )


def check_range(
    start: datetime | None, end: datetime | None, *, since: tuple[str, str], until: tuple[str, str]
) -> None:
    """Raises InvalidArgumentError where a range that has both ends does not begin before its end.

    `since` and `until` are, of its begin and its end, the field and what was typed there.
    """
    if start is not None and end is not None and start >= end:
        raise InvalidArgumentError(
            f"{since[0]}: {since[1][:SHOWN]} is not before {until[0]} {until[1][:SHOWN]}; "
            f"expected a time before that of {until[0]}"
        )
