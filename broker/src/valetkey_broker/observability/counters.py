"""What a process counts while it serves, for its metrics: plain numbers, for the event loop has them to itself.

Counters with locks, as libraries for metrics have them, cost several times as much; see docs/performance.md.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from valetkey_broker.errors import Reason

REQUEST_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Histogram:
    """Counts values by the first bound that is not below them; one more count is for what is above all bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` ascend."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Counts a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def copy(self) -> "Histogram":
        """Returns what was counted so far."""
        other = Histogram(self.bounds)
        other.counts, other.total = self.counts.copy(), self.total
        return other


class Figures:
    """The counts of one process. Methods are full names, such as `/valetkey.v1.TokenService/IssueToken`."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        """Calls that ended, by method and status code."""
        self.refusals: Counter[tuple[str, str]] = Counter()
        """Those of them that failed, by method and reason."""
        self.seconds: dict[str, Histogram] = {}
        """How long calls took, by method; streams, which last as long as they are wanted, are left out."""
        self.issued: Counter[str] = Counter()
        """Tokens by connector."""
        self.refused: Counter[tuple[str, str]] = Counter()
        """Tokens that were not issued, by connector ("" where none was said or found) and reason."""

    def answered(self, method: str, seconds: float) -> None:
        """Counts a call that succeeded."""
        self.requests[method, "OK"] += 1
        self._took(method, seconds)

    def failed(self, method: str, code: str, reason: Reason | None, seconds: float | None) -> None:
        """Counts a call that failed; without `reason` by a mistake of ours, without `seconds` a stream."""
        self.requests[method, code] += 1
        self.refusals[method, reason.name if reason is not None else "INTERNAL"] += 1
        if seconds is not None:
            self._took(method, seconds)

    def ended(self, method: str, code: str) -> None:
        """Counts a call that has no duration to speak of: a stream, or one whose caller went away."""
        self.requests[method, code] += 1

    def _took(self, method: str, seconds: float) -> None:
        histogram = self.seconds.get(method)
        if histogram is None:
            histogram = self.seconds[method] = Histogram(REQUEST_SECONDS)
        histogram.observe(seconds)
