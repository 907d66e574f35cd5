"""What the fake broker says of where people log in: to everybody."""

# ruff: noqa: N802 (gRPC calls methods by their names in the API)
import grpc

from valetkey.login.login_offer import LoginOffer
from valetkey.v1 import login_service_pb2 as pb
from valetkey.v1 import login_service_pb2_grpc


class FakeLogins(login_service_pb2_grpc.LoginServiceServicer):
    """Answers with `offers`."""

    def __init__(self) -> None:
        super().__init__()
        self.offers: list[LoginOffer] = []

    def GetLoginSettings(
        self, request: pb.GetLoginSettingsRequest, context: grpc.ServicerContext
    ) -> pb.GetLoginSettingsResponse:
        assert "authorization" not in dict(context.invocation_metadata())
        return pb.GetLoginSettingsResponse(
            issuers=[
                pb.LoginIssuer(
                    issuer=offer.issuer,
                    client_id=offer.client_id,
                    scopes=offer.scopes,
                    audience=offer.audience,
                    send_audience=offer.send_audience,
                )
                for offer in self.offers
            ]
        )
