"""Until when a stream has to have brought the next token, and when the identity's file is looked at before. No I/O."""

import threading

from valetkey.clock_through_suspend import now
from valetkey.renewal.attempts import Attempt
from valetkey.renewal.held_token import HeldToken

# A broker brings the next token at 60 to 75 % of a life; when it has not come by then, it is asked for anew.
_LATE = 0.85
# A token that ends with the caller's identity is asked for anew once that was renewed in its file: looked at so often.
_RENEWED_FROM, _RENEWED_EACH = 0.6, 0.05
# Shortly before a stream, which goes on as whoever began it, brings the next token, the identity's file is looked at.
_LOOKED_AT = 0.55
# Such tokens are the last ones that what allows them allows.
_LAST_ONES = ("grant-end", "identity-end")


def next_time(attempt: Attempt, held: HeldToken | None, last_try: float, *, looked: bool) -> float | None:
    """Returns when there is something to do about an attempt, None where it is waited for; `looked` tells of that."""
    times = [attempt.deadline]
    if not attempt.by_call and held is not None and attempt.tokens:
        times.append(_limit(attempt, held, last_try))
        if not looked:
            times.append(held.at(_LOOKED_AT))
    return min(times) if min(times) != float("inf") else None


def _limit(attempt: Attempt, held: HeldToken, last_try: float) -> float:
    if held.token.ttl_limited_by not in _LAST_ONES:
        return held.at(_LATE)
    if held.token.ttl_limited_by == "identity-end" and attempt.shown is not None:
        return max(held.at(_RENEWED_FROM), last_try + max(held.life * _RENEWED_EACH, 1.0))
    return float("inf")


def seconds_until(moment: float) -> float:
    """Returns how long to wait for a moment of the clock `now`, as threads can."""
    return min(max(moment - now(), 0.0), threading.TIMEOUT_MAX)
