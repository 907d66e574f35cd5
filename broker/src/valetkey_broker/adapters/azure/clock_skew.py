"""How far the broker's clock is from Azure's, by the Date of every answer."""

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import structlog

WARN_SECONDS = 60.0
# A Date has whole seconds: what it says may have been a second ago when it was written.
_RESOLUTION = 1.0


class ClockSkew:
    """The skew against one cloud. Tokens begin and end by the broker's clock, and Azure holds them to its own.

    `seconds` is how much the broker is ahead at least, negative where it is behind, 0 where both may be the same; None
    before the first answer.
    """

    def __init__(self, cloud: str, clock: Callable[[], float] = time.time) -> None:
        self._cloud = cloud
        self._told = False
        self._log = structlog.get_logger()
        self.clock = clock
        self.seconds: float | None = None

    def heard(self, date: str | None, asked: float) -> None:
        """Takes the Date of an answer to what was asked at `asked`. Logs a skew beyond a minute, once."""
        answered = self.clock()
        try:
            theirs = parsedate_to_datetime(date or "").timestamp()
        except (ValueError, OverflowError, TypeError):
            return
        ahead, behind = asked - theirs - _RESOLUTION, theirs - answered
        self.seconds = max(ahead, 0.0) - max(behind, 0.0)
        far = abs(self.seconds) > WARN_SECONDS
        if far and not self._told:
            self._log.warning(
                "the broker's clock is not Azure's: tokens begin and end by it; synchronise it",
                cloud=self._cloud,
                seconds_ahead=round(self.seconds),
            )
        self._told = far
