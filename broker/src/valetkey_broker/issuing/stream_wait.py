"""The time between two tokens of a stream."""

import time
from enum import Enum

from valetkey_broker.issuing.stream_checks import StreamChecks
from valetkey_broker.issuing.stream_end_reasons import End
from valetkey_broker.issuing.token_request import TokenRequest
from valetkey_broker.model import Lease, Principal
from valetkey_broker.ports import Clock

# A token that ends hardly later than the last one, times being whole seconds, is not worth having.
_WORTH_SECONDS = 2.0


class Waited(Enum):
    """Why the waiting is over, where the stream is not."""

    DUE = "it is time for the next token"
    SILENCE = "nothing was said for as long as may be"


class TokenWait:
    """One stream that waits; ten thousand of them may.

    Where the token ends with what allows it, a fresh one would end no later: it is the last one, unless something
    comes to allow more, and the stream ends with what allowed it.
    """

    __slots__ = (
        "_checks",
        "_clock",
        "_decided",
        "_due",
        "_ends",
        "_heartbeat",
        "_lease",
        "_principal",
        "_request",
        "_signer",
        "_silent_at",
        "outcome",
    )  # fmt: skip

    def __init__(
        self,
        checks: StreamChecks,
        clock: Clock,
        principal: Principal,
        request: TokenRequest,
        lease: Lease,
        due: float,
        *,
        while_signed_by: str | None = None,
        heartbeat: float | None = None,
    ) -> None:
        """Waits until `due` (Unix seconds), or for `heartbeat` seconds.

        With `while_signed_by` it is time, too, once another signs for the connector than signed the last token, which
        may be withdrawn in the cloud at any moment.
        """
        self._checks = checks
        self._clock = clock
        self._principal = principal
        self._request = request
        self._lease = lease
        self._due = due
        self._signer = while_signed_by
        self._heartbeat = heartbeat
        self._silent_at: float | None = None
        self.said_something()
        self._decided, self._ends = -1, 0.0
        self.outcome: End | Waited = Waited.DUE

    def said_something(self) -> None:
        """Lets the silence begin anew."""
        self._silent_at = None if self._heartbeat is None else time.monotonic() + self._heartbeat

    def look(self) -> float | None:
        """Returns in how many seconds to look again at the latest; None where the waiting is over, see `outcome`."""
        if (end := self._checks.gone(self._principal)) is not None:
            self.outcome = end
            return None
        now = self._clock()
        # What may be had changes with documents, and with the time at which a grant ends.
        if self._decided != self._checks.changes or now >= self._ends:
            self._decided = self._checks.changes
            if (outcome := self._decided_anew()) is not None:
                self.outcome = outcome
                return None
        if now >= self._due and self._ends >= self._lease.expires + _WORTH_SECONDS:
            self.outcome = Waited.DUE
            return None
        seconds = min(self._due if now < self._due else self._ends, self._checks.identity_ends(self._principal)) - now
        if self._silent_at is None:
            return seconds
        if (silent_in := self._silent_at - time.monotonic()) > 0:
            return min(seconds, silent_in)
        self.outcome = Waited.SILENCE
        return None

    def _decided_anew(self) -> End | Waited | None:
        if (revoked := self._checks.revoked(self._lease)) is not None:
            return revoked
        until = self._checks.allowed_until(self._principal, self._request, self._lease)
        if until is None:
            return self._checks.why_not(self._lease)
        self._ends = until
        if self._signer is not None and self._checks.has_new_signer(self._lease, self._signer):
            return Waited.DUE
        return None
