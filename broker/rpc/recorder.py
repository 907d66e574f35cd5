"""Tells the ledger of what the guard sees: refusals, and changes that went through."""

from typing import Any

from broker.errors import BrokerError, Reason
from broker.model import Event, EventKind, Permission
from broker.ports import Clock, Ledger
from broker.recording import Refusals
from broker.rpc.audited import CHANGES, changed_object
from broker.rpc.call import Call
from broker.rpc.convert import PERMISSIONS

_KINDS = {
    Reason.CREDENTIALS_MISSING: EventKind.AUTHENTICATION_FAILED,
    Reason.CREDENTIALS_INVALID: EventKind.AUTHENTICATION_FAILED,
    Reason.CREDENTIALS_EXPIRED: EventKind.AUTHENTICATION_FAILED,
    Reason.ROLE_REQUIRED: EventKind.DENIED,
    Reason.RESOURCE_DENIED: EventKind.DENIED,
    Reason.RATE_LIMITED: EventKind.DENIED,
}
_LETTERS = {number: permission.value for permission, number in PERMISSIONS.to_proto.items()}
_MOST = 300


class Recorder:
    """Writes events of calls. The issuer writes its own: those of tokens."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self.refusals = Refusals(ledger, clock)
        self._ledger = ledger
        self._clock = clock

    async def refused(self, call: Call, error: BrokerError, request: Any) -> None:
        """Records a refusal; other errors are no decision and are not recorded. Never raises."""
        kind = _KINDS.get(error.reason)
        if kind is None:
            return
        wanted = getattr(request, "request", request)  # WatchToken wraps what IssueToken takes.
        letters = {_LETTERS.get(number, "") for number in getattr(wanted, "permissions", ())}
        await self.refusals.record(
            Event(
                kind=kind,
                time=self._clock(),
                request_id=call.request_id,
                method=call.method,
                principal=call.principal.name if call.principal else "",
                authentication=call.principal.evidence.value if call.principal else "",
                peer=call.peer,
                object=changed_object(call.method, request) if request is not None else "",
                connector=_shown(wanted, "connector"),
                resource=_shown(wanted, "resource_id"),
                permissions="".join(permission.value for permission in Permission if permission.value in letters),
                reason=error.reason.name,
                purpose=_shown(wanted, "purpose"),
            )
        )

    def before_change(self, call: Call) -> None:
        """Raises LEDGER_UNAVAILABLE for a change while the ledger cannot be written: it could not be recorded."""
        if call.method in CHANGES and not self._ledger.healthy():
            raise BrokerError(
                Reason.LEDGER_UNAVAILABLE,
                "the ledger cannot be written, so nothing is changed; see the broker's log, and try again",
                {"cause": "unhealthy"},
                retry_after=5.0,
            )

    async def changed(self, call: Call, request: Any) -> None:
        """Records a change that was made. Raises LEDGER_UNAVAILABLE, and says that it was made, where it cannot."""
        if call.method not in CHANGES:
            return
        event = Event(
            kind=EventKind.ADMIN_CHANGE,
            time=self._clock(),
            request_id=call.request_id,
            method=call.method,
            principal=call.principal.name if call.principal else "",
            authentication=call.principal.evidence.value if call.principal else "",
            peer=call.peer,
            object=changed_object(call.method, request),
        )
        try:
            await self._ledger.record(event)
        except BrokerError as error:
            raise BrokerError(
                Reason.LEDGER_UNAVAILABLE,
                f"the change of {event.object} was made, but could not be recorded: {error.message}",
                error.metadata,
                retry_after=error.retry_after,
            ) from None


def _shown(message: Any, field: str) -> str:
    """Returns a field of a request for the record: short, and printable whatever it holds."""
    value = getattr(message, field, "")
    return ascii(value[:_MOST])[1:-1] if isinstance(value, str) and value else ""
