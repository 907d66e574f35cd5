"""Durations as people write them: `15m`, `1h30m`, `900s`, `90d`, or plain seconds."""

import re
from datetime import timedelta

from valetkey.errors import InvalidArgumentError

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
# Of what is wrong, so much is said again.
SHOWN = 50
_PART = r"[0-9]{1,40}[dhms]"
_DURATION = re.compile(rf"(?P<sign>-?)(?:(?P<seconds>[0-9]{{1,40}})|(?P<parts>(?:{_PART})+))", re.ASCII)


def is_duration(text: str) -> bool:
    """Whether a text says a duration, however long."""
    return _DURATION.fullmatch(text.strip()) is not None


def parse_duration(text: str, field: str) -> timedelta:
    """Returns a duration; zero and negative ones too, for the broker knows its own limits.

    Raises InvalidArgumentError where `text` is no duration or longer than one can be.
    """
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise InvalidArgumentError(
            f"{field}: {text[:SHOWN]!r} is not a duration; expected one such as 15m, 1h30m, 900s or 90d"
        )
    if match["parts"]:
        seconds = sum(int(part[:-1]) * _UNITS[part[-1]] for part in re.findall(_PART, match["parts"]))
    else:
        seconds = int(match["seconds"])
    try:
        return timedelta(seconds=-seconds if match["sign"] else seconds)
    except OverflowError:
        raise InvalidArgumentError(
            f"{field}: {text[:SHOWN]} is longer than a duration can be; expected minutes to days, such as 15m or 90d"
        ) from None


def show_age(span: timedelta) -> str:
    """Returns how long ago something was, in its largest unit, such as `12d`."""
    seconds = max(0, int(span.total_seconds()))
    unit = next((unit for unit, length in _UNITS.items() if seconds >= length), "s")
    return f"{seconds // _UNITS[unit]}{unit}"


def show_duration(span: timedelta) -> str:
    """Returns a duration to the second as people write it, such as `1h30m`."""
    left = int(span.total_seconds())
    parts = []
    for unit, seconds in _UNITS.items():
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
