"""LedgerService: message to filter, ask the ledger, records to messages."""

import base64
import binascii
from typing import Any

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from valetkey.v1 import ledger_service_pb2 as pb
from valetkey.v1 import ledger_service_pb2_grpc
from valetkey_broker.api.convert import EVENT_KINDS, PERMISSIONS
from valetkey_broker.model import (
    Event,
    EventFilter,
    EventKind,
    Head,
    InvalidFieldError,
    LeaseFilter,
    Permission,
    ResourceId,
    StoredEvent,
)
from valetkey_broker.ports import Clock, Ledger

_DEFAULT_PAGE = 100
_MOST = 1000
_SHA256_BYTES = 32
_LAST_ID = 2**63 - 1
# Source: google/protobuf/timestamp.proto.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799


class LedgerService(ledger_service_pb2_grpc.LedgerServiceServicer):
    """Reads the ledger."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def ListLeases(  # noqa: N802 (gRPC's naming)
        self,
        request: pb.ListLeasesRequest,
        context: grpc.aio.ServicerContext[pb.ListLeasesRequest, pb.ListLeasesResponse],
    ) -> pb.ListLeasesResponse:
        """Lists leases, newest first."""
        _ = context
        resource = ResourceId.parse(request.resource_id) if request.resource_id else None
        limit = _page_size(request.page_size)
        found = await self._ledger.leases(
            LeaseFilter(
                before_id=_before(request.page_token),
                active_at=None if request.include_expired else self._clock(),
                principal=_plain(request.principal, "principal"),
                connector=_plain(request.connector, "connector"),
                container=resource.container if resource else "",
                account=(resource.account or "") if resource else "",
                limit=limit + 1,
            )
        )
        shown = found[:limit]
        token = _token(shown[-1].id) if len(found) > limit else ""
        return pb.ListLeasesResponse(leases=[_lease(stored.event) for stored in shown], next_page_token=token)

    async def ListEvents(  # noqa: N802
        self,
        request: pb.ListEventsRequest,
        context: grpc.aio.ServicerContext[pb.ListEventsRequest, pb.ListEventsResponse],
    ) -> pb.ListEventsResponse:
        """Lists events in the order of the ledger."""
        _ = context
        if request.after_id < 0:
            raise InvalidFieldError("after_id", f"is {request.after_id}", "0, or the id of an event")
        if request.unfinished and request.kind not in (pb.EVENT_KIND_UNSPECIFIED, pb.EVENT_KIND_CHANGE_BEGUN):
            raise InvalidFieldError("unfinished", "is asked of another kind", "the kind change-begun, or none")
        limit = _page_size(request.page_size)
        found = await self._ledger.events(
            EventFilter(
                after_id=request.after_id,
                newest=request.newest,
                unfinished=request.unfinished,
                kind=EVENT_KINDS.read(request.kind) if request.kind else None,
                principal=_plain(request.principal, "principal"),
                connector=_plain(request.connector, "connector"),
                request_id=_plain(request.request_id, "request_id"),
                lease_id=_plain(request.lease_id, "lease_id"),
                since=_seconds(request.since, "since") if request.HasField("since") else None,
                until=_seconds(request.until, "until") if request.HasField("until") else None,
                limit=limit,
            )
        )
        more = len(found) == limit and not request.newest
        return pb.ListEventsResponse(
            events=[_event(stored) for stored in found], next_after_id=found[-1].id if more else 0
        )

    async def VerifyLedger(  # noqa: N802
        self,
        request: pb.VerifyLedgerRequest,
        context: grpc.aio.ServicerContext[pb.VerifyLedgerRequest, pb.VerifyLedgerResponse],
    ) -> pb.VerifyLedgerResponse:
        """Checks every chain."""
        _ = context
        for anchor in request.anchors:
            if len(anchor.hash) != _SHA256_BYTES or anchor.sequence < 1 or not anchor.writer.isprintable():
                raise InvalidFieldError("anchors", "hold what is no head", "heads as an earlier check printed them")
        anchors = [Head(anchor.writer, anchor.sequence, anchor.hash.hex()) for anchor in request.anchors]
        found = await self._ledger.verify(anchors)
        return pb.VerifyLedgerResponse(
            intact=found.intact,
            records=found.records,
            problem=found.problem,
            broken_id=found.broken_id,
            heads=[
                pb.LedgerHead(writer=head.writer, sequence=head.sequence, hash=bytes.fromhex(head.hash))
                for head in found.heads
            ],
        )


def _page_size(size: int) -> int:
    if size < 0:
        raise InvalidFieldError("page_size", f"is {size}", f"1 to {_MOST}, or nothing for {_DEFAULT_PAGE}")
    return min(size or _DEFAULT_PAGE, _MOST)


def _token(event_id: int) -> str:
    return base64.urlsafe_b64encode(str(event_id).encode("ascii")).decode("ascii")


def _before(token: str) -> int | None:
    if not token:
        return None
    try:
        number = int(base64.b64decode(token, altchars=b"-_", validate=True).decode("ascii"))
    except (binascii.Error, ValueError):
        number = 0
    if not 1 <= number <= _LAST_ID:
        raise InvalidFieldError("page_token", "was not made by this broker", "next_page_token of the page before")
    return number


def _plain(text: str, field: str) -> str:
    # Nothing on record holds such characters, and not every database takes them in a question.
    if not text.isprintable():
        raise InvalidFieldError(field, "holds unprintable characters", "the value as the ledger shows it")
    return text


def _seconds(value: Timestamp, field: str) -> float:
    if not _FIRST_SECOND <= value.seconds <= _LAST_SECOND or not 0 <= value.nanos < 1_000_000_000:  # noqa: PLR2004 (1 s)
        raise InvalidFieldError(field, "is no point in time", "a timestamp of the years 1 to 9999")
    return value.seconds + value.nanos / 1e9


def _timestamp(seconds: float) -> Timestamp:
    return Timestamp(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


def _permissions(letters: str) -> list[Any]:
    return [PERMISSIONS.to_proto[Permission(letter)] for letter in letters]


def _lease(event: Event) -> pb.Lease:
    return pb.Lease(
        id=event.lease_id,
        principal=event.principal,
        connector=event.connector,
        credential_version=event.credential_version,
        resource=event.resource,
        permissions=_permissions(event.permissions),
        issue_time=_timestamp(event.time),
        expire_time=Timestamp(seconds=event.expires),
        grant=event.grant,
        purpose=event.purpose,
    )


def _event(stored: StoredEvent) -> pb.Event:
    event = stored.event
    message = pb.Event(
        id=stored.id,
        writer=stored.writer,
        sequence=stored.sequence,
        time=_timestamp(event.time),
        kind=EVENT_KINDS.to_proto[event.kind],
        method=event.method,
        request_id=event.request_id,
        principal=event.principal,
        authentication=event.authentication,
        peer=event.peer,
        object=event.object,
        connector=event.connector,
        connector_uid=event.connector_uid,
        credential_version=event.credential_version,
        resource=event.resource,
        permissions=_permissions(event.permissions),
        lease_id=event.lease_id,
        signature_sha256=bytes.fromhex(event.signature_sha256),
        grant=event.grant,
        reason=event.reason,
        purpose=event.purpose,
        count=event.count,
        hash=bytes.fromhex(stored.hash),
        details=event.details,
    )
    if event.kind is EventKind.TOKEN_ISSUED:
        message.ttl.seconds = event.ttl
        message.expire_time.seconds = event.expires
    return message
