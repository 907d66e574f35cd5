"""TokenService: message to domain, issue, domain to message."""

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from broker.issuing.issuer import Issuer
from broker.rpc.call import call_info
from broker.rpc.convert import PERMISSIONS, permission_set, seconds_of
from valetkey.v1 import common_pb2, token_service_pb2, token_service_pb2_grpc


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
            call_info(),
            resource_id=request.resource_id,
            permissions=permission_set(request.permissions),
            ttl=seconds_of(request.ttl, "ttl") if request.HasField("ttl") else None,
            connector_name=request.connector,
            source_ip=request.source_ip,
            purpose=request.purpose,
        )
        return token_service_pb2.IssueTokenResponse(
            lease_id=lease.id,
            sas_token=lease.sas_token,
            start_time=Timestamp(seconds=lease.starts),
            expire_time=Timestamp(seconds=lease.expires),
            resource=common_pb2.Resource(
                resource_type=common_pb2.RESOURCE_TYPE_BLOB_CONTAINER,
                resource_id=f"az://{lease.container}",
                account=lease.account,
                url=lease.url,
            ),
            permissions=[PERMISSIONS.to_proto[permission] for permission in lease.permissions.members],
            connector=lease.connector,
            credential_version=lease.credential_version,
            grant=lease.grant,
        )
