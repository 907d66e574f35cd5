"""How many calls are under way, in all and of each principal."""

from collections import Counter

from valetkey_broker.errors import BrokerError, rate_limited
from valetkey_broker.rpc.current_call import Call


class OpenCalls:
    """Bounds the calls under way: half of those that may be are the most of one principal.

    A call costs its caller next to nothing, for it need not even send its message; nobody takes all of them away.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_of_one = max(most // 2, 1)
        self._of: Counter[str] = Counter()
        self.total = 0

    def begin(self) -> None:
        """Counts a call."""
        self.total += 1

    def end(self, call: Call) -> None:
        """Counts it no more."""
        self.total -= 1
        if call.principal is not None:
            name = call.principal.name
            self._of[name] -= 1
            if not self._of[name]:
                del self._of[name]

    def require_room(self) -> None:
        """Raises RATE_LIMITED where more calls are under way than may be."""
        if self.total > self._most:
            raise too_many_calls("broker")

    def authenticated(self, call: Call) -> None:
        """Counts a call as its principal's, once. Raises RATE_LIMITED where that is one too many."""
        if call.principal is not None:
            self._of[call.principal.name] += 1
            if self._of[call.principal.name] > self._most_of_one:
                raise too_many_calls("principal")


def too_many_calls(per: str) -> BrokerError:
    """As many calls are open as may be, of the broker, of one principal or from one address."""
    message = "as many calls are open as may be; try again shortly"
    return rate_limited(message, limit="calls", per=per, retry_after=1.0)
