"""TokenService: message to domain, issue, domain to message."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from valetkey.v1 import common_pb2, token_service_pb2_grpc
from valetkey.v1 import token_service_pb2 as pb
from valetkey_broker.api.convert import RESOURCE_TYPES, TTL_LIMITS, permission_numbers, permission_set, seconds_of
from valetkey_broker.api.token_batch import TokenBatch
from valetkey_broker.errors import BrokerError, rate_limited
from valetkey_broker.issuing.issuer import Issuer
from valetkey_broker.issuing.stream_end_reasons import EndReason
from valetkey_broker.issuing.token_request import TokenRequest
from valetkey_broker.issuing.token_stream import TokenWatcher
from valetkey_broker.limits import Slots
from valetkey_broker.model import Lease, PermissionSet, Scope, TtlLimit
from valetkey_broker.ports import Clock
from valetkey_broker.rpc.call_recorder import Recorder
from valetkey_broker.rpc.current_call import call_info, current_call
from valetkey_broker.rpc.method import Method

# Only requests of this many bytes at most are remembered, so that nobody fills the memory with long ones.
_MOST_REMEMBERED_BYTES = 512
_LEAST_HEARTBEAT_SECONDS = 1.0
# Below the shortest limit that proxies are known to set on a silent stream: HAProxy's 50 s, as it is shipped.
_MOST_HEARTBEAT_SECONDS = 45.0
_END_REASONS = {reason: pb.WatchEndReason.Value(f"WATCH_END_REASON_{reason.name}") for reason in EndReason}


class TokenService(token_service_pb2_grpc.TokenServiceServicer):
    """Hands out SAS tokens."""

    def __init__(
        self, issuer: Issuer, watcher: TokenWatcher, streams: Slots, recorder: Recorder, single: Method, clock: Clock
    ) -> None:
        """`single` is the row of IssueToken: requests that are refused among others are put on record as its own."""
        self._clock = clock
        self._issuer = issuer
        self._recorder = recorder
        self._single = single
        self._watcher = watcher
        self._streams = streams

    async def IssueToken(  # noqa: N802 (gRPC's naming)
        self,
        request: pb.IssueTokenRequest,
        context: grpc.aio.ServicerContext[pb.IssueTokenRequest, pb.IssueTokenResponse],
    ) -> pb.IssueTokenResponse:
        """Issues one token."""
        _ = context
        lease = await self._issuer.issue(call_info(), wanted(request))
        response = pb.IssueTokenResponse()
        _fill(response, lease, self._now())
        return response

    async def IssueTokens(  # noqa: N802
        self,
        request: pb.IssueTokensRequest,
        context: grpc.aio.ServicerContext[pb.IssueTokensRequest, pb.IssueTokensResponse],
    ) -> pb.IssueTokensResponse:
        """Issues many tokens, or says of each why not."""
        _ = context
        info = call_info()
        call = current_call.get()

        async def issue(many: Sequence[TokenRequest]) -> Sequence[Lease | Exception]:
            return await self._issuer.issue_many(info, many)

        async def refused(error: BrokerError, one: pb.IssueTokenRequest) -> None:
            await self._recorder.refused(call, self._single, error, one)

        # Past the memory for whole requests: a thousand of one call would push out what others ask for all day.
        return await TokenBatch(_parsed, issue, _fill, refused, self._now).answer(request.requests)

    async def WatchToken(  # noqa: N802
        self,
        request: pb.WatchTokenRequest,
        context: grpc.aio.ServicerContext[pb.WatchTokenRequest, pb.WatchTokenResponse],
    ) -> AsyncIterator[pb.WatchTokenResponse]:
        """Issues tokens until there is a reason to end."""
        _ = context
        call = call_info()
        heartbeat = _heartbeat_seconds(request)
        with self._streams.hold(call.principal.name) as held:
            if not held:
                raise rate_limited(
                    f"{call.principal.name} has as many streams open as it may; close one, or try again later",
                    limit="streams",
                    per="principal",
                    retry_after=10.0,
                )
            stream = self._watcher.watch(call, wanted(request.request), heartbeat)
            async with contextlib.aclosing(stream):
                async for item in stream:
                    response = pb.WatchTokenResponse()
                    if item is None:
                        response.heartbeat.SetInParent()
                    elif isinstance(item, Lease):
                        _fill(response.token, item, self._now())
                    else:
                        response.end.reason = _END_REASONS[EndReason[item.name]]
                        response.end.message = item.value
                    yield response

    def _now(self) -> Timestamp:
        now = self._clock()
        return Timestamp(seconds=int(now), nanos=int(now % 1 * 1e9))


def _heartbeat_seconds(request: pb.WatchTokenRequest) -> float | None:
    if not request.HasField("heartbeat_interval"):
        return None
    asked = seconds_of(request.heartbeat_interval, "heartbeat_interval")
    return min(max(asked, _LEAST_HEARTBEAT_SECONDS), _MOST_HEARTBEAT_SECONDS)


def wanted(request: pb.IssueTokenRequest) -> TokenRequest:
    """Returns what a message asks for. Raises InvalidFieldError."""
    raw = request.SerializeToString()
    return _remembered(raw) if len(raw) <= _MOST_REMEMBERED_BYTES else _parsed(request)


@lru_cache(maxsize=4096)  # pure, and callers ask for the same few things all day
def _remembered(raw: bytes) -> TokenRequest:
    return _parsed(pb.IssueTokenRequest.FromString(raw))


def _parsed(request: pb.IssueTokenRequest) -> TokenRequest:
    return TokenRequest.parse(
        request.resource_id,
        permission_set(request.permissions),
        ttl=seconds_of(request.ttl, "ttl") if request.HasField("ttl") else None,
        connector=request.connector,
        source_ip=request.source_ip,
        purpose=request.purpose,
    )


@lru_cache(maxsize=4096)  # pure, and callers ask for the same few things all day
def _alike(
    scope: Scope, permissions: PermissionSet, connector: str, version: int, grant: str, limit: TtlLimit | None
) -> bytes:
    """Returns what the answers to equal requests have in common, as it goes into a message."""
    response = pb.IssueTokenResponse(
        resource=common_pb2.Resource(
            resource_type=RESOURCE_TYPES.to_proto[scope.resource_type],
            resource_id=scope.resource_id,
            account=scope.account,
            url=scope.url,
        ),
        permissions=permission_numbers(permissions),
        connector=connector,
        credential_version=version,
        grant=grant,
    )
    if limit is not None:
        response.ttl_limited_by = TTL_LIMITS.to_proto[limit]
    return response.SerializeToString()


@lru_cache(maxsize=1024)  # within one second most tokens begin and end at the same times
def _times(starts: int, expires: int) -> bytes:
    """Returns the times of a token, as they go into a message."""
    response = pb.IssueTokenResponse()
    response.start_time.seconds = starts
    response.expire_time.seconds = expires
    return response.SerializeToString()


def _fill(response: pb.IssueTokenResponse, lease: Lease, now: Timestamp) -> None:
    alike = _alike(
        lease.scope, lease.permissions, lease.connector, lease.credential_version, lease.grant, lease.ttl_limited_by
    )
    response.MergeFromString(alike + _times(lease.starts, lease.expires))
    response.lease_id = lease.id
    response.sas_token = lease.sas_token
    response.answer_time.CopyFrom(now)
