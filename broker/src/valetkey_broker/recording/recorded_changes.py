"""Makes changes such that each is on record before anything is done, and again once its outcome is known."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import structlog

from valetkey_broker.errors import (
    BrokerError,
    Reason,
    UnrecordedOutcomeError,
    begin_not_recorded,
    outcome_not_recorded,
)
from valetkey_broker.model import Event, EventKind, InvalidFieldError
from valetkey_broker.ports import Clock, Ledger
from valetkey_broker.state.intent import ORIGIN, Intent, Origin
from valetkey_broker.state.intents_of_call import OpenIntents, intents_of_call

T = TypeVar("T")

# After these a change may have been made all the same, once a write went out: no answer came back.
_UNKNOWN_OUTCOME = frozenset({Reason.VAULT_UNAVAILABLE, Reason.DEADLINE_EXCEEDED})


class Changes:
    """Puts two records around each change: CHANGE_BEGUN, and what became of it.

    That is ADMIN_CHANGE where it was made, or with a reason where nobody knows whether it was; and CHANGE_FAILED, with
    the reason, where it is known that it was not, or nothing of it was written yet. Both records name the same call and
    the same object. One that has no other behind it is of a change that runs right now, or during which the broker died
    or lost its ledger. What was left of such a change another process settles, and records as CHANGE_RECONCILED in its
    own chain; so it does with one whose outcome is not known.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._log = structlog.get_logger()

    async def make(
        self, begun: Event, work: Callable[[], Awaitable[T]], undo: Callable[[], Awaitable[object]] | None = None
    ) -> T:
        """Makes the change that `begun`, a CHANGE_BEGUN, announces. Returns and raises what `work` does.

        Raises LEDGER_UNAVAILABLE where `begun` could not be recorded: then `work` was not called. Raises
        UnrecordedOutcomeError where the change was made, and that could not be recorded; `undo` takes it back before.
        """
        await self._begin(begun)
        # What is not closed at the end, because its outcome could not be recorded or is not known, is settled anew.
        async with intents_of_call() as changes:
            token = ORIGIN.set(Origin(begun.request_id, begun.method, begun.principal, begun.object))
            try:
                answer = await work()
            except Exception as error:
                if await self._failed(begun, error, changes):
                    await changes.close()
                raise
            finally:
                ORIGIN.reset(token)
            try:
                await self._made(begun)
            except UnrecordedOutcomeError:
                if undo is not None:
                    # Here, where its intent is ours: anybody else would have to record its outcome first.
                    await undo()
                    await changes.close()
                raise
            await changes.close()
        return answer

    async def reconciled(self, intent: Intent, made: bool) -> None:
        """Records that a change was brought to its end which its own process did not; raises LEDGER_UNAVAILABLE.

        It names the call for which the change was made; whose chain it stands in tells who did it.
        """
        await self._ledger.record(reconciled_event(intent.origin, intent.recorded_as, made=made, now=self._clock()))

    async def _begin(self, begun: Event) -> None:
        try:
            await self._ledger.record(begun)
        except BrokerError as error:
            raise begin_not_recorded(begun.object, error) from None

    async def _made(self, begun: Event) -> None:
        try:
            await self._record(begun, EventKind.ADMIN_CHANGE)
        except BrokerError as error:
            self._log.error("a change was made, and its outcome is not on record", **_named(begun), why=error.message)
            raise outcome_not_recorded(begun.object, error) from None

    async def _failed(self, begun: Event, error: Exception, changes: OpenIntents) -> bool:
        """Records why a change was not made, or why nobody knows; returns whether its outcome is on record.

        The error is the caller's, recorded or not.
        """
        reason = _reason(error)
        unknown = (reason is None or reason in _UNKNOWN_OUTCOME) and not changes.failed_before_any_write(error)
        kind = EventKind.ADMIN_CHANGE if unknown else EventKind.CHANGE_FAILED
        name = reason.name if reason else "INTERNAL"
        try:
            await self._record(begun, kind, name)
        except BrokerError as failed:
            said = "may have been made" if unknown else "was not made"
            self._log.error(
                f"a change {said}, and its outcome is not on record", **_named(begun), reason=name, why=failed.message
            )
            return False
        return not unknown

    async def _record(self, begun: Event, kind: EventKind, reason: str = "") -> None:
        await self._ledger.record(replace(begun, kind=kind, time=self._clock(), reason=reason))


def reconciled_event(origin: Origin, path: str, *, made: bool, now: float) -> Event:
    """Returns the record of the outcome of a change that its own process did not live to record."""
    return Event(
        kind=EventKind.CHANGE_RECONCILED,
        time=now,
        request_id=origin.request_id,
        method=origin.method,
        principal=origin.principal,
        object=path,
        reason="MADE" if made else "NOT_MADE",
    )


def _reason(error: Exception) -> Reason | None:
    if isinstance(error, BrokerError):
        return error.reason
    if isinstance(error, InvalidFieldError):
        return Reason.INVALID_FIELD
    return Reason.DEADLINE_EXCEEDED if isinstance(error, TimeoutError) else None


def _named(begun: Event) -> dict[str, str]:
    return {"object": begun.object, "principal": begun.principal, "method": begun.method}
