"""The fake broker's rotations: each look at one shows the next of the states that a test lays down."""

# ruff: noqa: N802 (gRPC calls methods by their names in the API)
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc

from support.fake_access import NOW
from valetkey.v1 import connector_service_pb2, credential_service_pb2_grpc, errors_pb2, secret_service_pb2
from valetkey.v1 import credential_service_pb2 as pb


def rotation(name: str, state: str, **fields: Any) -> pb.Rotation:
    """Returns a rotation of a service principal's secret."""
    message = pb.Rotation(
        id="r-1",
        name=name,
        state=pb.RotationState.Value(f"ROTATION_STATE_{state.upper()}"),
        **{
            "holder": pb.CREDENTIAL_HOLDER_CONNECTOR,
            "source": "given",
            "started_by": "key:ops",
            "auth_method": connector_service_pb2.AUTH_METHOD_SERVICE_PRINCIPAL,
            "from_version": 1,
            "connectors": [name],
            **fields,
        },
    )
    message.start_time.FromDatetime(NOW)
    message.update_time.FromDatetime(NOW + timedelta(seconds=5))
    message.prove_for.seconds = 300
    return message


class FakeCredentials(credential_service_pb2_grpc.CredentialServiceServicer):
    """Answers the RPCs of CredentialService."""

    rotations: list[pb.Rotation]
    """What is shown next; the last one stays."""

    if TYPE_CHECKING:

        def _enter(self, method: str, request: Any, context: grpc.ServicerContext) -> None: ...
        def _refuse(self, context: grpc.ServicerContext, code: grpc.StatusCode, text: str, reason: int) -> None: ...

    def RotateCredential(
        self, request: pb.RotateCredentialRequest, context: grpc.ServicerContext
    ) -> pb.RotateCredentialResponse:
        self._enter("RotateCredential", request, context)
        return pb.RotateCredentialResponse(rotation=self._next(context))

    def SetRotationSchedule(
        self, request: pb.SetRotationScheduleRequest, context: grpc.ServicerContext
    ) -> pb.SetRotationScheduleResponse:
        self._enter("SetRotationSchedule", request, context)
        if request.holder == pb.CREDENTIAL_HOLDER_SECRET:
            return pb.SetRotationScheduleResponse(
                secret=secret_service_pb2.NamedSecret(name=request.name, rotation_schedule=request.schedule)
            )
        return pb.SetRotationScheduleResponse(
            connector=connector_service_pb2.Connector(name=request.name, rotation_schedule=request.schedule)
        )

    def GetRotation(self, request: pb.GetRotationRequest, context: grpc.ServicerContext) -> pb.GetRotationResponse:
        self._enter("GetRotation", request, context)
        return pb.GetRotationResponse(rotation=self._next(context))

    def AbortRotation(
        self, request: pb.AbortRotationRequest, context: grpc.ServicerContext
    ) -> pb.AbortRotationResponse:
        self._enter("AbortRotation", request, context)
        return pb.AbortRotationResponse(rotation=self._next(context))

    def RollbackCredential(
        self, request: pb.RollbackCredentialRequest, context: grpc.ServicerContext
    ) -> pb.RollbackCredentialResponse:
        self._enter("RollbackCredential", request, context)
        return pb.RollbackCredentialResponse(rotation=self._next(context))

    def ListCredentialVersions(
        self, request: pb.ListCredentialVersionsRequest, context: grpc.ServicerContext
    ) -> pb.ListCredentialVersionsResponse:
        self._enter("ListCredentialVersions", request, context)
        method = connector_service_pb2.AUTH_METHOD_ACCOUNT_KEY
        in_use = pb.CredentialVersion(version=3, in_use=True, auth_method=method, given_by="key:ops", rotation="r-1")
        in_use.since.FromDatetime(NOW)
        versions = [in_use, pb.CredentialVersion(version=2, auth_method=method)]
        return pb.ListCredentialVersionsResponse(versions=versions)

    def _next(self, context: grpc.ServicerContext) -> pb.Rotation:
        if not self.rotations:
            reason = errors_pb2.ERROR_REASON_ROTATION_NOT_FOUND
            self._refuse(context, grpc.StatusCode.NOT_FOUND, "it was never rotated", reason)
        return self.rotations.pop(0) if len(self.rotations) > 1 else self.rotations[0]
