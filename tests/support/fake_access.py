"""The fake broker's grants, streams and ledger: answers out of memory."""

# ruff: noqa: N802 (gRPC calls methods by their names in the API)
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc

from valetkey.v1 import common_pb2 as common_pb
from valetkey.v1 import errors_pb2 as errors_pb
from valetkey.v1 import grant_service_pb2 as grant_pb
from valetkey.v1 import grant_service_pb2_grpc, ledger_service_pb2_grpc
from valetkey.v1 import ledger_service_pb2 as ledger_pb
from valetkey.v1 import token_service_pb2 as token_pb

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
READ_LIST = [common_pb.PERMISSION_READ, common_pb.PERMISSION_LIST]

StreamStep = token_pb.WatchTokenResponse | float | Callable[[], object]


def grant(name: str, **fields: Any) -> grant_pb.Grant:
    """Returns a stored grant."""
    given: dict[str, Any] = {
        "principals": ["key:trainer"],
        "connectors": [grant_pb.GrantedConnector(name="azure-blob-demo", uid="uid-of-azure-blob-demo")],
        "containers": ["models"],
        "permissions": READ_LIST,
        "version": 1,
        **fields,
    }
    message = grant_pb.Grant(
        name=name, meta=common_pb.ObjectMeta(uid=f"uid-of-{name}", created_by="key:admin"), **given
    )
    message.meta.create_time.FromDatetime(NOW)
    return message


def lease(number: int, *, minutes: int = 15, principal: str = "key:trainer") -> ledger_pb.Lease:
    """Returns one issued token; it lives `minutes` from NOW."""
    message = ledger_pb.Lease(
        id=f"lease-{number}",
        principal=principal,
        connector="azure-blob-demo",
        credential_version=1,
        resource="https://contosoml.blob.core.windows.net/models",
        permissions=READ_LIST,
        grant="training",
        purpose="nightly run",
    )
    message.issue_time.FromDatetime(NOW)
    message.expire_time.FromDatetime(NOW + timedelta(minutes=minutes))
    return message


def event(number: int, **fields: Any) -> ledger_pb.Event:
    """Returns one record: an issued token unless told otherwise."""
    given: dict[str, Any] = {
        "kind": ledger_pb.EVENT_KIND_TOKEN_ISSUED,
        "method": "/valetkey.v1.TokenService/IssueToken",
        "request_id": f"req-{number}",
        "principal": "key:trainer",
        "authentication": "api-key",
        "peer": "192.0.2.7",
        "connector": "azure-blob-demo",
        "resource": "https://contosoml.blob.core.windows.net/models",
        "permissions": READ_LIST,
        "lease_id": f"lease-{number}",
        "grant": "training",
        "count": 1,
        **fields,
    }
    message = ledger_pb.Event(
        id=number, writer="w-1", sequence=number, hash=b"\x0a" * 32, signature_sha256=b"\x0b" * 32, **given
    )
    message.time.FromDatetime(NOW + timedelta(seconds=number))
    if message.kind == ledger_pb.EVENT_KIND_TOKEN_ISSUED:
        message.ttl.seconds = 900
        message.expire_time.FromDatetime(NOW + timedelta(seconds=number + 900))
    return message


class FakeAccess(grant_service_pb2_grpc.GrantServiceServicer, ledger_service_pb2_grpc.LedgerServiceServicer):
    """Grants and the ledger. What it shows may be set by tests before, and while, it is asked."""

    page_size: int

    def __init__(self) -> None:
        self.grants: dict[str, grant_pb.Grant] = {}
        self.warnings: list[str] = []  # of grants that are made or changed
        # Answers in place of `explanation`, where a test needs more than one.
        self.explain: Callable[[grant_pb.ExplainAccessRequest], grant_pb.ExplainAccessResponse] | None = None
        self.explanation = grant_pb.ExplainAccessResponse(allowed=True, grant="training")
        self.leases: list[ledger_pb.Lease] = []
        self.events: list[ledger_pb.Event] = []
        self.verification = ledger_pb.VerifyLedgerResponse(
            intact=True, records=7, heads=[ledger_pb.LedgerHead(writer="w-1", sequence=7, hash=b"\x0a" * 32)]
        )
        # What WatchToken sends, one after the other; a number of seconds is a pause.
        # What a stream does: answer, wait so many seconds, or call something. `streams` are used up first, in turn.
        self.stream: list[StreamStep] = []
        self.streams: list[list[StreamStep]] = []
        self.streams_ended = 0

    if TYPE_CHECKING:

        def _enter(self, method: str, request: Any, context: grpc.ServicerContext) -> None: ...
        def _refuse(self, context: grpc.ServicerContext, code: grpc.StatusCode, text: str, reason: int) -> None: ...
        def _page(self, names: list[str], token: str) -> tuple[list[str], str]: ...

    def CreateGrant(
        self, request: grant_pb.CreateGrantRequest, context: grpc.ServicerContext
    ) -> grant_pb.CreateGrantResponse:
        self._enter("CreateGrant", request, context)
        stored = self._stored(request.grant, 1)
        return grant_pb.CreateGrantResponse(grant=stored, warnings=self.warnings)

    def GetGrant(self, request: grant_pb.GetGrantRequest, context: grpc.ServicerContext) -> grant_pb.GetGrantResponse:
        self._enter("GetGrant", request, context)
        self._known_grant(request.name, context)
        return grant_pb.GetGrantResponse(grant=self.grants[request.name])

    def ListGrants(
        self, request: grant_pb.ListGrantsRequest, context: grpc.ServicerContext
    ) -> grant_pb.ListGrantsResponse:
        self._enter("ListGrants", request, context)
        names, token = self._page(sorted(self.grants), request.page_token)
        return grant_pb.ListGrantsResponse(grants=[self.grants[name] for name in names], next_page_token=token)

    def UpdateGrant(
        self, request: grant_pb.UpdateGrantRequest, context: grpc.ServicerContext
    ) -> grant_pb.UpdateGrantResponse:
        self._enter("UpdateGrant", request, context)
        self._known_grant(request.grant.name, context)
        if self.grants[request.grant.name].version != request.grant.version:
            self._refuse(context, grpc.StatusCode.ABORTED, "the grant was changed", errors_pb.ERROR_REASON_CONFLICT)
        stored = self._stored(request.grant, request.grant.version + 1)
        return grant_pb.UpdateGrantResponse(grant=stored, warnings=self.warnings)

    def DeleteGrant(
        self, request: grant_pb.DeleteGrantRequest, context: grpc.ServicerContext
    ) -> grant_pb.DeleteGrantResponse:
        self._enter("DeleteGrant", request, context)
        self._known_grant(request.name, context)
        del self.grants[request.name]
        return grant_pb.DeleteGrantResponse()

    def ExplainAccess(
        self, request: grant_pb.ExplainAccessRequest, context: grpc.ServicerContext
    ) -> grant_pb.ExplainAccessResponse:
        self._enter("ExplainAccess", request, context)
        return self.explain(request) if self.explain is not None else self.explanation

    def ListLeases(
        self, request: ledger_pb.ListLeasesRequest, context: grpc.ServicerContext
    ) -> ledger_pb.ListLeasesResponse:
        self._enter("ListLeases", request, context)
        live = [found for found in self.leases if request.include_expired or found.expire_time.ToDatetime(UTC) > NOW]
        start = int(request.page_token or 0)
        end = start + min(self.page_size, request.page_size)
        return ledger_pb.ListLeasesResponse(leases=live[start:end], next_page_token=str(end) if end < len(live) else "")

    def ListEvents(
        self, request: ledger_pb.ListEventsRequest, context: grpc.ServicerContext
    ) -> ledger_pb.ListEventsResponse:
        self._enter("ListEvents", request, context)
        after = request.after_id or -(2**63)
        found = [e for e in self.events if e.id > after and request.kind in (0, e.kind)]
        if request.newest:
            return ledger_pb.ListEventsResponse(events=found[-request.page_size :])
        size = min(self.page_size, request.page_size)
        more = len(found) > size
        return ledger_pb.ListEventsResponse(events=found[:size], next_after_id=found[size - 1].id if more else 0)

    def VerifyLedger(
        self, request: ledger_pb.VerifyLedgerRequest, context: grpc.ServicerContext
    ) -> ledger_pb.VerifyLedgerResponse:
        self._enter("VerifyLedger", request, context)
        return self.verification

    def _stored(self, given: grant_pb.Grant, version: int) -> grant_pb.Grant:
        fresh = grant_pb.Grant()
        fresh.CopyFrom(given)
        fresh.meta.CopyFrom(grant(given.name).meta)
        fresh.version = version
        for connector in fresh.connectors:
            connector.uid = connector.uid or f"uid-of-{connector.name}"
        if fresh.consumer_role:
            fresh.permissions[:] = READ_LIST
        self.grants[given.name] = fresh
        return fresh

    def _known_grant(self, name: str, context: grpc.ServicerContext) -> None:
        if name not in self.grants:
            self._refuse(
                context,
                grpc.StatusCode.NOT_FOUND,
                f"no grant is named {name}",
                errors_pb.ERROR_REASON_GRANT_NOT_FOUND,
            )

    def _answers(self, context: grpc.ServicerContext) -> Iterator[token_pb.WatchTokenResponse]:
        ended = threading.Event()
        context.add_callback(ended.set)
        try:
            for step in self.streams.pop(0) if self.streams else self.stream:
                if isinstance(step, token_pb.WatchTokenResponse):
                    yield step
                elif callable(step):
                    step()
                elif ended.wait(step):
                    return
        finally:
            self.streams_ended += 1
