"""IdentityService: who the caller is, as authentication found out."""

import math

import grpc.aio

from valetkey.v1 import identity_service_pb2 as pb
from valetkey.v1 import identity_service_pb2_grpc
from valetkey_broker.api.convert import ROLES
from valetkey_broker.model import Evidence, Role
from valetkey_broker.rpc.current_call import caller

_AUTHENTICATIONS = {
    Evidence.API_KEY: pb.AUTHENTICATION_API_KEY,
    Evidence.OIDC: pb.AUTHENTICATION_OIDC,
    Evidence.MTLS: pb.AUTHENTICATION_MTLS,
}


class IdentityService(identity_service_pb2_grpc.IdentityServiceServicer):
    """Answers callers about themselves."""

    async def WhoAmI(  # noqa: N802 (gRPC's naming)
        self,
        request: pb.WhoAmIRequest,
        context: grpc.aio.ServicerContext[pb.WhoAmIRequest, pb.WhoAmIResponse],
    ) -> pb.WhoAmIResponse:
        """Says who calls."""
        _ = request, context
        principal = caller()
        answer = pb.WhoAmIResponse(
            principal=principal.name,
            roles=[ROLES.to_proto[role] for role in Role if role in principal.roles],
            authentication=_AUTHENTICATIONS[principal.evidence],
            attributes=principal.attributes,
        )
        if math.isfinite(principal.expires):
            answer.expire_time.seconds = int(principal.expires)
        return answer
