"""LoginService: where people log in. It answers callers without an identity, out of the settings alone."""

from collections.abc import Sequence

import grpc.aio

from valetkey.v1 import login_service_pb2 as pb
from valetkey.v1 import login_service_pb2_grpc
from valetkey_broker.settings import OidcSettings


class LoginService(login_service_pb2_grpc.LoginServiceServicer):
    """Tells which issuers people log in at."""

    def __init__(self, issuers: Sequence[OidcSettings]) -> None:
        self._answer = pb.GetLoginSettingsResponse(
            issuers=[
                pb.LoginIssuer(
                    issuer=each.issuer,
                    client_id=each.login.client_id,
                    scopes=each.login.scopes,
                    audience=each.audience,
                    send_audience=each.login.send_audience,
                )
                for each in issuers
                if each.login is not None
            ]
        )

    async def GetLoginSettings(  # noqa: N802 (gRPC's naming)
        self,
        request: pb.GetLoginSettingsRequest,
        context: grpc.aio.ServicerContext[pb.GetLoginSettingsRequest, pb.GetLoginSettingsResponse],
    ) -> pb.GetLoginSettingsResponse:
        """Says where people log in."""
        _ = request, context
        return self._answer
