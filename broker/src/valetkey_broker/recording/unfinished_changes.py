"""Records "not made" for changes that were begun, and have neither an outcome on record nor an open intent."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from valetkey_broker.concurrency.backoff import spread
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import EventFilter, EventKind, StoredEvent
from valetkey_broker.ports import Clock, Ledger
from valetkey_broker.recording.recorded_changes import reconciled_event
from valetkey_broker.state.intent import Origin

# Before it had intents, a broker could die between a change and the record of it: what it left tells nothing.
_FIRST_FORM_WITH_INTENTS = 2
_MOST = 1000
_PAUSE_SECONDS = 60.0
_WATCHED_SECONDS = 900.0


class MissingOutcomes:
    """Gives the changes that were not made the outcome which their own process did not live to record.

    A change opens its intent before it writes, and closes it after its outcome is on record. So one that is on record
    as begun, and has neither an outcome nor an intent, was not made; unless it is only just being prepared, which this
    waits out: it records what it has seen unfinished for `watched_seconds`. No clock is compared with another's. One
    on record with an outcome that is not known is left to its intent's settling: it may have been made.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        under_way: Callable[[], Awaitable[set[str]]],
        *,
        watched_seconds: float = _WATCHED_SECONDS,
    ) -> None:
        """`under_way` gives the paths that have an intent now; it raises VAULT_UNAVAILABLE where it cannot."""
        self._ledger = ledger
        self._clock = clock
        self._under_way = under_way
        self._watched_seconds = watched_seconds
        self._since: dict[int, float] = {}  # id of the record → when it was first seen unfinished (monotonic)
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Looks again and again, until cancelled."""
        while True:
            await asyncio.sleep(spread(_PAUSE_SECONDS))
            try:
                await self.look()
            except BrokerError as error:
                self._log.info("unfinished changes cannot be looked through now", reason=error.reason.name)
            except Exception as error:  # noqa: BLE001 (a loop that ends would leave them unfinished for ever)
                self._log.error("looking through unfinished changes failed", error=type(error).__qualname__)

    async def look(self) -> None:
        """Records the outcome of those that were watched for long enough. Raises LEDGER_ and VAULT_UNAVAILABLE."""
        now = time.monotonic()
        found = await self._unfinished()
        self._since = {stored.id: self._since.get(stored.id, now) for stored in found}
        due = [stored for stored in found if now - self._since[stored.id] >= self._watched_seconds]
        if not due:
            return
        under_way = await self._under_way()
        # Looked at again: others look, too, and an intent may have been closed since.
        still = {stored.id for stored in await self._unfinished()}
        for stored in due:
            event = stored.event
            if stored.id in still and event.object not in under_way:
                origin = Origin(event.request_id, event.method, event.principal)
                await self._ledger.record(reconciled_event(origin, event.object, made=False, now=self._clock()))

    async def _unfinished(self) -> list[StoredEvent]:
        wanted = EventFilter(cut_off=True, kind=EventKind.CHANGE_BEGUN, newest=True, limit=_MOST)
        return [stored for stored in await self._ledger.events(wanted) if stored.form >= _FIRST_FORM_WITH_INTENTS]
