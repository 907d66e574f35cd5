"""The log's line for each call."""

import time
from typing import Any

import structlog

from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.limits import TokenBuckets, network_of
from valetkey_broker.observability.redaction import frames
from valetkey_broker.rpc.current_call import Call
from valetkey_broker.rpc.error_status import code_of

# Lines for callers that nobody knows, of one address and of all: enough to see who it is, too few to fill a disk.
_PER_SECOND, _BURST = 0.2, 20
_ALL_PER_SECOND, _ALL_BURST = 5.0, 100


class CallLog:
    """Writes a line for each call. Refusals of callers without an identity are written in bounds, with their address.

    A line that follows others that were left out says how many. The ledger counts all of them.
    """

    def __init__(self) -> None:
        self._one = TokenBuckets(per_second=_PER_SECOND, burst=_BURST, clock=time.monotonic)
        self._all = TokenBuckets(per_second=_ALL_PER_SECOND, burst=_ALL_BURST, clock=time.monotonic)
        self._left_out = 0
        self._log = structlog.get_logger()

    def served(self, call: Call, started: float) -> None:
        """Writes that a call succeeded. `started` is of time.perf_counter."""
        self._log.info("call", code="OK", **_fields(call, started))

    def failed(self, call: Call, started: float, error: BrokerError) -> None:
        """Writes that a call failed, and why."""
        fields = _fields(call, started)
        if call.principal is None:
            if self._one.take(network_of(call.peer)) or self._all.take(""):
                self._left_out += 1
                return
            if self._left_out:
                fields["left_out"], self._left_out = self._left_out, 0
        fields.update(peer=call.peer, reason=error.reason.name, details=error.metadata)
        if error.reason is not Reason.INVALID_FIELD:  # Its words quote the field: perhaps a secret gone astray.
            fields["message"] = error.message
        self._log.info("call", code=code_of(error).name, **fields)

    def broken(self, call: Call, started: float, error: Exception) -> None:
        """Writes that a call failed by a mistake of ours, and where."""
        self._log.error("unexpected error", method=call.method, frames=frames(error))
        self._log.info("call", code=code_of(None).name, peer=call.peer, **_fields(call, started))


def _fields(call: Call, started: float) -> dict[str, Any]:
    return {
        "method": call.method,
        "principal": call.principal.name if call.principal else None,
        "milliseconds": round((time.perf_counter() - started) * 1000, 1),
    }
