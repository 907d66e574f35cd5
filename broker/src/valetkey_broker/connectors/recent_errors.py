"""Asks once for all who want the same of a connector at the same time, and keeps an error for a moment."""

from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from valetkey_broker.concurrency.single_flight import FlightCancelledError, SingleFlight
from valetkey_broker.errors import BrokerError, Reason, connector_changed
from valetkey_broker.model import Connector
from valetkey_broker.ports import Clock

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

# Asking again at once what was just refused helps nobody, and is a load on Azure that callers could make at will.
_REMEMBERED_SECONDS = {
    Reason.CLOUD_CREDENTIAL_REJECTED: 5.0,
    Reason.CLOUD_PERMISSION_MISSING: 5.0,
    Reason.CLOUD_REQUEST_REFUSED: 5.0,
    Reason.RESOURCE_NOT_FOUND: 5.0,
    Reason.CLOUD_THROTTLED: 1.0,
}


async def join(
    flights: SingleFlight[K, T], key: K, work: Callable[[], Coroutine[Any, Any, T]], connector: Connector
) -> T:
    """Returns what `work` returns, done once for all who want `key` at the same time.

    Raises CONFLICT where the work was ended because the connector went away.
    """
    try:
        return await flights.run(key, work)
    except FlightCancelledError:
        raise connector_changed(connector.name) from None


@dataclass(slots=True)
class RecentError:
    """The last error, for as long as nobody needs to ask again: as Azure asked for, or for a moment.

    Times are Unix seconds.
    """

    error: BrokerError | None = None
    until: float = 0.0
    heard_at: float = 0.0

    def heard(self, error: BaseException, now: float, *, passing_seconds: float = 0.0) -> None:
        """Notes an error of the cloud's, one that the cloud is away for `passing_seconds`; others are passed over."""
        if not isinstance(error, BrokerError):
            return
        away = passing_seconds if error.reason is Reason.CLOUD_UNAVAILABLE else 0.0
        asked = error.retry_after if error.reason is Reason.CLOUD_THROTTLED else None
        seconds = asked or _REMEMBERED_SECONDS.get(error.reason, away)
        if seconds:
            self.error = error
            self.heard_at, self.until = now, now + seconds

    def forget(self) -> None:
        """Lets the next one ask."""
        self.error = None

    def check(self, now: float) -> None:
        """Raises that error again while its time is not over; one of throttling with the seconds that are left."""
        error = self.error
        # One of the future was heard while the clock was ahead, and that may be why it was refused.
        if error is None or not self.heard_at <= now < self.until:
            return
        left = self.until - now if error.reason is Reason.CLOUD_THROTTLED else error.retry_after
        raise error.again_in(left)


class Remembering:
    """Raises a recent error again instead of asking; notes the error of asking.

    One that the cloud is away is noted for `passing_seconds`.
    """

    def __init__(self, recent: RecentError, clock: Clock, passing_seconds: float) -> None:
        self._recent = recent
        self._clock = clock
        self._passing = passing_seconds

    def __enter__(self) -> None:
        self._recent.check(self._clock())

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None:
            self._recent.heard(error, self._clock(), passing_seconds=self._passing)
        else:
            self._recent.forget()
