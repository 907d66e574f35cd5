"""Token buckets, one for each key: so many calls at once, and so many a second from then on."""

from collections import OrderedDict

from valetkey_broker.ports import Clock

_MOST_KEYS = 20_000
# What sums of fractions may lose; without it somebody who waited as long as told could be told to wait for nothing.
_NEARLY = 1e-6


class TokenBuckets:
    """Buckets that begin full. The least recently used key is forgotten first: it has had the most time to fill up."""

    def __init__(self, *, per_second: float, burst: int, clock: Clock, most_keys: int = _MOST_KEYS) -> None:
        self._rate = per_second
        self._burst = float(burst)
        self._clock = clock
        self._most_keys = most_keys
        # key → (tokens, at this second), in the order of their last use. A dict's first is found only past all that
        # were taken out before it.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, cost: int = 1) -> float:
        """Takes `cost` tokens of `key`. Returns 0, or the seconds until there are so many.

        What costs more than a bucket holds is let through by a full one, which then owes the rest.
        """
        now = self._clock()
        tokens, at = self._buckets.pop(key, (self._burst, now))
        # A clock that was set back gives nothing, and takes nothing away.
        tokens = min(self._burst, tokens + max(0.0, now - at) * self._rate)
        needed = min(float(cost), self._burst)
        wait = 0.0 if tokens >= needed - _NEARLY else (needed - tokens) / self._rate
        self._buckets[key] = (tokens if wait else _without_dust(tokens - cost), now)
        if len(self._buckets) > self._most_keys:
            self._buckets.popitem(last=False)
        return wait


def _without_dust(tokens: float) -> float:
    return 0.0 if -_NEARLY <= tokens <= 0.0 else tokens
