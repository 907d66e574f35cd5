"""How long Azure asks to wait."""

import re
import time
from email.utils import parsedate_to_datetime

from azure.core.exceptions import HttpResponseError

_LONGEST_WAIT = 3600.0


def retry_after_of(error: HttpResponseError) -> float | None:
    """Returns how many seconds Azure asks to wait, an hour at most; None where it does not."""
    headers = getattr(error.response, "headers", {})
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (seconds := _number(headers.get(name))) is not None:
            return min(seconds / 1000, _LONGEST_WAIT)
    value = headers.get("Retry-After")
    seconds = _number(value)
    if seconds is None and value:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return None if seconds is None else min(max(seconds, 0.0), _LONGEST_WAIT)


def _number(value: str | None) -> float | None:
    return float(value) if value and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", value) else None
