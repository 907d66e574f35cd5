"""The one exception of values that cannot be made."""

import re

# Where a SAS URL or a SAS token, pasted into the wrong field, turns secret; percent-encoded too.
_SECRET_FROM_HERE = re.compile(r"\?|%3f|sig(?:=|%3d)", re.IGNORECASE)


class InvalidFieldError(ValueError):
    """A field is malformed.

    Its text may travel to the caller: it names the field, the problem and what was expected, and holds of the
    offending value only what `shown` made safe to print.
    """

    def __init__(self, field: str, problem: str, expected: str) -> None:
        self.field = field
        self.problem = problem
        self.expected = expected
        super().__init__(f"{field}: {problem}; expected {expected}")


def shown(value: str, limit: int = 80) -> str:
    """Returns `value` quoted for a message: ASCII only, control characters escaped, cut at `limit`.

    What stands from the first `?` or `sig=` on is left out: people paste SAS URLs.
    """
    public = _SECRET_FROM_HERE.split(value, maxsplit=1)[0][:limit]
    text = ascii(public)
    return text if public == value else f"{text}…"


def shown_seconds(seconds: int) -> str:
    """Returns a duration for a message as people type it, such as `1h30m`; one below nothing in plain seconds."""
    if seconds <= 0:
        return f"{seconds}s"
    said, left = "", seconds
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        said += f"{count}{unit}" if count else ""
    return said
