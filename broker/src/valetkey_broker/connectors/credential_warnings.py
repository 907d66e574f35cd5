"""What those should know in time who look after a connector's credential."""

from collections.abc import Sequence
from datetime import datetime

_SOON_SECONDS = 30 * 24 * 3600
_A_MOMENT_SECONDS = 60  # What was just given as 7d is to read as 7 days.


def credential_warnings(expires_at: datetime | None, now: float) -> Sequence[str]:
    """Returns a sentence where the credential ends within 30 days. `now` is in Unix seconds."""
    if expires_at is None:
        return []
    left = expires_at.timestamp() - now
    if left > _SOON_SECONDS:
        return []
    ends = f"{expires_at:%Y-%m-%d %H:%M} UTC"
    if left <= 0:
        return [f"the connector's credential ended on {ends}: it gets no new tokens; replace it"]
    days = int((left + _A_MOMENT_SECONDS) // (24 * 3600))
    when = "within a day" if days == 0 else f"in {days} day{'s' if days > 1 else ''}"
    return [f"the connector's credential ends on {ends}, {when}; replace it before"]
