"""LedgerService: message to filter, ask the ledger, records to messages."""

import base64
import binascii
from dataclasses import replace

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from valetkey.v1 import ledger_service_pb2 as pb
from valetkey.v1 import ledger_service_pb2_grpc
from valetkey_broker.api.convert import EVENT_KINDS, PERMISSIONS
from valetkey_broker.api.ledger_messages import (
    FIRST_SECOND,
    LAST_SECOND,
    event_message,
    head_message,
    lease_message,
)
from valetkey_broker.issuing.diagnosis import Diagnoser, TokenQuestion
from valetkey_broker.model import EventFilter, Head, InvalidFieldError, LeaseFilter, ResourceId
from valetkey_broker.model.event import KINDS_WITH_RESOURCE
from valetkey_broker.ports import Clock, Ledger
from valetkey_broker.revoking.lease_states import LeaseStates
from valetkey_broker.rpc.current_call import caller

_DEFAULT_PAGE = 100
_MOST = 1000
_SHA256_BYTES = 32
_MOST_URL = 2048
_WITH_RESOURCE = (pb.EVENT_KIND_UNSPECIFIED, *(EVENT_KINDS.to_proto[kind] for kind in KINDS_WITH_RESOURCE))
_FIRST_ID, _LAST_ID = -(2**63), 2**63 - 1


class LedgerService(ledger_service_pb2_grpc.LedgerServiceServicer):
    """Reads the ledger."""

    def __init__(self, ledger: Ledger, clock: Clock, diagnoser: Diagnoser, states: LeaseStates) -> None:
        self._states = states
        self._ledger = ledger
        self._clock = clock
        self._diagnoser = diagnoser

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
                path=_path(resource) if resource else "",
                limit=limit + 1,
            )
        )
        shown = found[:limit]
        token = _token(shown[-1].id) if len(found) > limit else ""
        leases = [lease_message(stored.event, *self._states.of(stored.event)) for stored in shown]
        return pb.ListLeasesResponse(leases=leases, next_page_token=token)

    async def ListEvents(  # noqa: N802
        self,
        request: pb.ListEventsRequest,
        context: grpc.aio.ServicerContext[pb.ListEventsRequest, pb.ListEventsResponse],
    ) -> pb.ListEventsResponse:
        """Lists events in the order of the ledger."""
        _ = context
        if request.unfinished and request.kind not in (pb.EVENT_KIND_UNSPECIFIED, pb.EVENT_KIND_CHANGE_BEGUN):
            raise InvalidFieldError("unfinished", "is asked of another kind", "the kind change-begun, or none")
        if request.resource_id and (request.unfinished or request.kind not in _WITH_RESOURCE):
            raise InvalidFieldError(
                "resource_id",
                "is asked of records that name none",
                "the kind token-issued, denied or authentication-failed, or none",
            )
        resource = ResourceId.parse(request.resource_id) if request.resource_id else None
        limit = _page_size(request.page_size)
        wanted = EventFilter(
            after_id=request.after_id or None,
            newest=request.newest,
            unfinished=request.unfinished,
            kind=EVENT_KINDS.read(request.kind) if request.kind else None,
            principal=_plain(request.principal, "principal"),
            connector=_plain(request.connector, "connector"),
            request_id=_plain(request.request_id, "request_id"),
            lease_id=_plain(request.lease_id, "lease_id"),
            container=resource.container if resource else "",
            account=(resource.account or "") if resource else "",
            path=_path(resource) if resource else "",
            since=_seconds(request.since, "since") if request.HasField("since") else None,
            until=_seconds(request.until, "until") if request.HasField("until") else None,
            limit=limit,
        )
        found = await self._ledger.events(wanted)
        if found and found[-1].id == 0 and not request.newest:
            # No broker gives this id. As the end of a page it would read as the end of the list.
            limit += 1
            found = await self._ledger.events(replace(wanted, limit=limit))
        more = len(found) == limit and not request.newest
        return pb.ListEventsResponse(
            events=[event_message(stored) for stored in found], next_after_id=found[-1].id if more else 0
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
            heads=[head_message(head) for head in found.heads],
        )

    async def DiagnoseToken(  # noqa: N802
        self,
        request: pb.DiagnoseTokenRequest,
        context: grpc.aio.ServicerContext[pb.DiagnoseTokenRequest, pb.DiagnoseTokenResponse],
    ) -> pb.DiagnoseTokenResponse:
        """Says what may explain that storage refuses a token."""
        _ = context
        if len(request.signature_sha256) not in (0, _SHA256_BYTES):
            raise InvalidFieldError("signature_sha256", "is no SHA-256", f"{_SHA256_BYTES} bytes")
        if "?" in request.url or len(request.url) > _MOST_URL:
            raise InvalidFieldError("url", "has a query, or is too long", "the URL without anything from the ? on")
        found = await self._diagnoser.diagnose(
            caller(),
            TokenQuestion(
                lease_id=_plain(request.lease_id, "lease_id"),
                signature_sha256=request.signature_sha256.hex(),
                expires=int(_seconds(request.expire_time, "expire_time")) if request.HasField("expire_time") else None,
                url=_plain(request.url, "url"),
                operation=PERMISSIONS.read(request.operation) if request.operation else None,
            ),
        )
        return pb.DiagnoseTokenResponse(
            known=found.lease is not None,
            lease=lease_message(found.lease, *self._states.of(found.lease)) if found.lease is not None else None,
            findings=[
                pb.TokenFinding(cause=each.cause, message=each.message, mend=each.mend, decides=each.decides)
                for each in found.findings
            ],
            storage_known=found.storage_known,
        )


def _path(resource: ResourceId) -> str:
    return f"{resource.prefix}/" if resource.directory else resource.prefix


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
        if _FIRST_ID <= number <= _LAST_ID:
            return number
    except (binascii.Error, ValueError):
        pass
    raise InvalidFieldError("page_token", "was not made by this broker", "next_page_token of the page before")


def _plain(text: str, field: str) -> str:
    # Nothing on record holds such characters, and not every database takes them in a question.
    if not text.isprintable():
        raise InvalidFieldError(field, "holds unprintable characters", "the value as the ledger shows it")
    return text


def _seconds(value: Timestamp, field: str) -> float:
    if not FIRST_SECOND <= value.seconds <= LAST_SECOND or not 0 <= value.nanos < 1_000_000_000:  # noqa: PLR2004 (1 s)
        raise InvalidFieldError(field, "is no point in time", "a timestamp of the years 1 to 9999")
    return value.seconds + value.nanos / 1e9
