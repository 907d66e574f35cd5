"""TokenService: message to domain, issue, domain to message."""

import grpc.aio

from broker.issuing.issuer import Issuer
from broker.model import InvalidFieldError
from broker.rpc.call import caller
from broker.rpc.convert import PERMISSIONS, permission_set
from valetkey.v1 import common_pb2, token_service_pb2, token_service_pb2_grpc

_MAX_DURATION_SECONDS = 315_576_000_000  # google.protobuf.Duration's own bound
_MAX_NANOS = 1_000_000_000


class TokenService(token_service_pb2_grpc.TokenServiceServicer):
    """Hands out SAS tokens."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    async def IssueToken(  # noqa: N802 (gRPC's naming)
        self,
        request: token_service_pb2.IssueTokenRequest,
        context: grpc.aio.ServicerContext[token_service_pb2.IssueTokenRequest, token_service_pb2.IssueTokenResponse],
    ) -> token_service_pb2.IssueTokenResponse:
        """Issues one token."""
        _ = context
        lease = await self._issuer.issue(
            caller(),
            resource_id=request.resource_id,
            permissions=permission_set(request.permissions),
            ttl=_seconds(request),
            connector_name=request.connector,
            source_ip=request.source_ip,
        )
        response = token_service_pb2.IssueTokenResponse(
            lease_id=lease.id,
            sas_token=lease.sas_token,
            permissions=[PERMISSIONS.to_proto[permission] for permission in lease.permissions.members],
            connector=lease.connector,
            credential_version=lease.credential_version,
        )
        # Set in place: messages made apart and copied in would take twice as long.
        response.start_time.seconds = lease.starts
        response.expire_time.seconds = lease.expires
        resource = response.resource
        resource.resource_type = common_pb2.RESOURCE_TYPE_BLOB_CONTAINER
        resource.resource_id = f"az://{lease.container}"
        resource.account = lease.account
        resource.url = lease.url
        return response


def _seconds(request: token_service_pb2.IssueTokenRequest) -> int | None:
    if not request.HasField("ttl"):
        return None
    seconds, nanos = request.ttl.seconds, request.ttl.nanos
    if abs(seconds) > _MAX_DURATION_SECONDS or abs(nanos) >= _MAX_NANOS or seconds * nanos < 0:
        raise InvalidFieldError("ttl", "is not a duration", "seconds and nanos of one sign, within their bounds")
    return seconds if nanos >= 0 else -1
