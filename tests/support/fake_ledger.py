"""A ledger in memory: what it recorded is there to look at, and it can be told to fail."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.ledger.records_of_resource import names
from valetkey_broker.model import Event, EventFilter, EventKind, Head, LeaseFilter, StoredEvent, Verification

_WRITER = "00000000-0000-4000-8000-000000000000"
_GENESIS = "00" * 32
_OUTCOMES = (EventKind.ADMIN_CHANGE, EventKind.CHANGE_FAILED, EventKind.CHANGE_RECONCILED)


def ledger_down() -> BrokerError:
    """Returns the error of a ledger that cannot be written."""
    return BrokerError(
        Reason.LEDGER_UNAVAILABLE, "the ledger cannot be written", {"cause": "disk-full"}, retry_after=1.0
    )


class FakeLedger:
    """Keeps events in `recorded`, in order.

    `fail_with` is raised by every method that may fail, until it is None again. `before_record` is called with each
    event before it is kept, so that a test can look at what had happened until then.
    """

    def __init__(self) -> None:
        self.recorded: list[Event] = []
        self.fail_with: BrokerError | None = None
        self.before_record: Callable[[Event], None] = lambda _event: None
        self.opened = self.closed = 0
        self._stored: list[StoredEvent] = []

    def of(self, kind: EventKind) -> list[Event]:
        """Returns what was recorded of one kind."""
        return [event for event in self.recorded if event.kind is kind]

    async def open(self) -> None:
        self._fail()
        self.opened += 1

    async def record(self, *events: Event) -> None:
        self._fail()
        for event in events:
            self.before_record(event)
        for event in events:
            self._store(event)

    def _store(self, event: Event) -> None:
        number = len(self._stored) + 1
        previous = self._stored[-1].hash if self._stored else _GENESIS
        own = hashlib.sha256(f"{previous}{number}{event}".encode()).hexdigest()
        self._stored.append(StoredEvent(number, _WRITER, number, previous, own, event, form=2))
        self.recorded.append(event)

    async def events(self, wanted: EventFilter) -> Sequence[StoredEvent]:
        self._fail()
        looked_for = wanted.unfinished or wanted.cut_off
        candidates = _unfinished(self._stored, cut_off=wanted.cut_off) if looked_for else self._stored
        after = wanted.after_id or 0
        found = [stored for stored in candidates if stored.id > after and _wanted(stored.event, wanted)]
        return found[-wanted.limit :] if wanted.newest else found[: wanted.limit]

    async def leases(self, wanted: LeaseFilter) -> Sequence[StoredEvent]:
        self._fail()
        found = [
            stored
            for stored in reversed(self._stored)
            if (wanted.before_id is None or stored.id < wanted.before_id) and _wanted_lease(stored.event, wanted)
        ]
        if wanted.one_of_each:
            newest: dict[tuple[str, str, int, str], StoredEvent] = {}
            for stored in found:
                event = stored.event
                account = (urlsplit(event.resource).hostname or "").partition(".")[0]
                newest.setdefault((event.connector, event.connector_uid, event.credential_version, account), stored)
            found = list(newest.values())
        return found[: wanted.limit]

    async def verify(self, anchors: Sequence[Head] = ()) -> Verification:
        self._fail()
        heads = tuple(Head(_WRITER, stored.sequence, stored.hash) for stored in self._stored[-1:])
        known = {(stored.writer, stored.sequence, stored.hash) for stored in self._stored}
        for anchor in anchors:
            if dataclasses.astuple(anchor) not in known:
                problem = f"the head {anchor.sequence} of writer {anchor.writer}, noted earlier, is gone"
                return Verification(False, len(self._stored), problem, 0, heads)
        return Verification(True, len(self._stored), "", 0, heads)

    def healthy(self) -> bool:
        return self.fail_with is None

    async def close(self) -> None:
        self.closed += 1

    def _fail(self) -> None:
        if self.fail_with is not None:
            raise self.fail_with


def _wanted(event: Event, wanted: EventFilter) -> bool:
    return (
        wanted.kind in (None, event.kind)
        and wanted.principal in ("", event.principal)
        and wanted.connector in ("", event.connector)
        and wanted.request_id in ("", event.request_id)
        and wanted.lease_id in ("", event.lease_id)
        and (wanted.since is None or event.time >= wanted.since)
        and (wanted.until is None or event.time < wanted.until)
        and (not wanted.container or _is_about(event, wanted))
    )


def _is_about(event: Event, wanted: EventFilter) -> bool:
    if event.kind is EventKind.TOKEN_ISSUED:
        place = LeaseFilter(container=wanted.container, account=wanted.account, path=wanted.path)
        return _wanted_lease(event, place)
    return names(event.resource, wanted)


def _unfinished(stored: Sequence[StoredEvent], *, cut_off: bool) -> Sequence[StoredEvent]:
    begun: dict[tuple[str, str, str], StoredEvent] = {}
    lost = []
    for each in stored:
        call = (each.event.request_id, each.event.method, each.event.object)
        if each.event.kind is EventKind.CHANGE_BEGUN:
            lost += [begun[call]] if call in begun else []
            begun[call] = each
        elif each.event.kind is EventKind.ADMIN_CHANGE and each.event.reason and not cut_off:
            continue
        elif each.event.kind in _OUTCOMES:
            begun.pop(call, None)
    return sorted([*lost, *begun.values()], key=lambda each: each.id)


def _wanted_lease(event: Event, wanted: LeaseFilter) -> bool:
    url = urlsplit(event.resource)
    return (
        event.kind is EventKind.TOKEN_ISSUED
        and (wanted.active_at is None or event.expires > wanted.active_at)
        and (wanted.issued_before is None or event.time < wanted.issued_before)
        and wanted.expires in (None, event.expires)
        and wanted.signature_sha256 in ("", event.signature_sha256)
        and wanted.principal in ("", event.principal)
        and wanted.connector in ("", event.connector)
        and wanted.grant in ("", event.grant)
        and wanted.account in ("", (url.hostname or "").partition(".")[0])
        and wanted.container in ("", url.path.strip("/").partition("/")[0])
        and _is_at(url.path, wanted)
    )


def _is_at(path: str, wanted: LeaseFilter) -> bool:
    place = f"/{wanted.container}/{wanted.path}"
    return not wanted.path or (path.startswith(place) if wanted.path.endswith("/") else path == place)
