"""Tells the ledger of what the guard sees: refusals, and changes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from valetkey_broker.errors import BrokerError, Reason, change_refused_unrecorded, rate_limited
from valetkey_broker.limits import Slots
from valetkey_broker.model import Event, EventKind, details_of
from valetkey_broker.observability.redaction import scrub
from valetkey_broker.ports import Clock, Ledger
from valetkey_broker.recording import Changes, Refusals
from valetkey_broker.rpc.current_call import Call
from valetkey_broker.rpc.method import Asked, Method

T = TypeVar("T")

_KINDS = {
    Reason.CREDENTIALS_MISSING: EventKind.AUTHENTICATION_FAILED,
    Reason.CREDENTIALS_INVALID: EventKind.AUTHENTICATION_FAILED,
    Reason.CREDENTIALS_EXPIRED: EventKind.AUTHENTICATION_FAILED,
    Reason.ROLE_REQUIRED: EventKind.DENIED,
    Reason.RESOURCE_DENIED: EventKind.DENIED,
    Reason.ACCESS_REVOKED: EventKind.DENIED,
    Reason.RATE_LIMITED: EventKind.DENIED,
}
_CLOSING_SECONDS = 5.0
_MOST = 300
# More than resources, purposes and names may have together; scrubbing as much as a message may hold takes 0.1 s.
_MOST_SEARCHED = 4096
# Changes go on where their callers hang up, so gRPC's limit on calls does not bound them.
_MOST_CHANGES_OF_ONE = 8
_MOST_CHANGES = 64


class Recorder:
    """Writes events of calls. The issuer writes its own: those of tokens."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self.refusals = Refusals(ledger, clock)
        self._changes = Changes(ledger, clock)
        self._ledger = ledger
        self._clock = clock
        self._under_way: set[asyncio.Task[Any]] = set()
        self._slots, self._slots_of_all = Slots(_MOST_CHANGES_OF_ONE), Slots(_MOST_CHANGES)

    async def close(self) -> None:
        """Records what is still to be recorded. Never raises."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_CLOSING_SECONDS)
        await self.refusals.flush()

    async def refused(self, call: Call, method: Method, error: BrokerError, request: Any) -> None:
        """Records a refusal; other errors are no decision and are not recorded. Never raises."""
        kind = _KINDS.get(error.reason)
        if kind is None:
            return
        if error.reason is Reason.RATE_LIMITED and call.principal is None:
            kind = EventKind.AUTHENTICATION_FAILED
        asked = method.asked(request) if request is not None else Asked()
        await self.refusals.record(
            self._event(
                kind,
                call,
                object=_plain(method.change(request)) if method.change and request is not None else "",
                connector=_plain(asked.connector),
                resource=_plain(asked.resource),
                permissions=asked.permissions,
                reason=error.reason.name,
                purpose=_plain(asked.purpose),
                details=_told(error) if kind is EventKind.AUTHENTICATION_FAILED else {},
            )
        )

    def before_change(self) -> None:
        """Raises LEDGER_UNAVAILABLE while the ledger cannot be written: a change could not be recorded."""
        if not self._ledger.healthy():
            raise change_refused_unrecorded()

    async def change(self, call: Call, changed: str, summary: Mapping[str, str], work: Callable[[], Awaitable[T]]) -> T:
        """Records that a change of `changed` begins, makes it with `work`, and records what became of it.

        See recording.Changes. Goes on to the end where the caller hangs up: nobody changes anything off the record so.
        """
        task = asyncio.get_running_loop().create_task(self._change(self._begun(call, changed, summary), work))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # Seen, so asyncio does not log it, text and all, where the caller has gone.

    async def _change(self, begun: Event, work: Callable[[], Awaitable[T]]) -> T:
        with self._slots.hold(begun.principal) as own, self._slots_of_all.hold("") as any_left:
            if not (own and any_left):
                raise rate_limited(
                    f"{begun.object} was not changed: as many changes are under way as may be; try again shortly",
                    limit="changes",
                    per="principal" if not own else "broker",
                    retry_after=1.0,
                )
            return await self._changes.make(begun, work)

    def _begun(self, call: Call, changed: str, summary: Mapping[str, str]) -> Event:
        # First without secrets, then cut: half a secret is not known as one.
        details = details_of(**{name: scrub(value) for name, value in summary.items()})
        return self._event(EventKind.CHANGE_BEGUN, call, object=_plain(changed), details=details)

    def _event(self, kind: EventKind, call: Call, **fields: Any) -> Event:
        """Returns a record of a call, which says whose it was; `fields` are what else there is to say."""
        return Event(
            kind=kind,
            time=self._clock(),
            request_id=call.request_id,
            method=call.method,
            principal=call.principal.name if call.principal else "",
            authentication=call.principal.evidence.value if call.principal else "",
            peer=call.peer,
            **fields,
        )


def _told(error: BrokerError) -> dict[str, str]:
    """Returns the words for programs that the caller is told besides the reason, and of which kind of evidence."""
    return details_of(error=error.metadata.get("problem", ""), evidence=error.metadata.get("evidence", ""))


def _plain(text: str) -> str:
    """Returns a text as printable ASCII of bounded length, whatever it holds; what was longer ends in three dots.

    What looks like a secret is left out: people paste a SAS where a resource belongs. That takes looking at all of a
    text, so of one beyond any use, which is sent to keep the broker busy, only the length is told.
    """
    if len(text) > _MOST_SEARCHED:
        return f"{len(text)} characters"
    plain = ascii(scrub(text)[: _MOST + 1])[1:-1]
    return plain if len(plain) <= _MOST else f"{plain[: _MOST - 3]}..."
