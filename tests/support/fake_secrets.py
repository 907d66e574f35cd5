"""The fake broker's named secrets: answers out of memory, values kept nowhere."""

# ruff: noqa: N802 (gRPC calls methods by their names in the API)
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc

from support.fake_access import NOW
from valetkey.v1 import common_pb2, connector_service_pb2, errors_pb2, secret_service_pb2_grpc
from valetkey.v1 import secret_service_pb2 as pb


def named_secret(name: str, **fields: Any) -> pb.NamedSecret:
    """Returns a stored secret, an account's key unless told otherwise."""
    given: dict[str, Any] = {
        "type": connector_service_pb2.CONNECTOR_TYPE_AZURE,
        "auth_method": connector_service_pb2.AUTH_METHOD_ACCOUNT_KEY,
        "azure": connector_service_pb2.AzureConfig(cloud="dev", storage_account="contosoml"),
        "secret_fields": ["account_key"],
        "credential_version": 1,
        "updated_by": "key:ops",
        **fields,
    }
    message = pb.NamedSecret(name=name, meta=common_pb2.ObjectMeta(uid=f"uid-of-{name}", created_by="key:ops"), **given)
    message.connector_count = len(message.connectors)
    message.meta.create_time.FromDatetime(NOW)
    message.update_time.FromDatetime(NOW + timedelta(days=2))
    return message


class FakeSecrets(secret_service_pb2_grpc.SecretServiceServicer):
    """Answers the RPCs of SecretService."""

    secrets: dict[str, pb.NamedSecret]

    if TYPE_CHECKING:

        def _enter(self, method: str, request: Any, context: grpc.ServicerContext) -> None: ...
        def _refuse(self, context: grpc.ServicerContext, code: grpc.StatusCode, text: str, reason: int) -> None: ...

    def CreateSecret(self, request: pb.CreateSecretRequest, context: grpc.ServicerContext) -> pb.CreateSecretResponse:
        self._enter("CreateSecret", request, context)
        fields = [field.name for field, _ in request.azure_secret.ListFields()]
        self.secrets[request.name] = named_secret(
            request.name, auth_method=request.auth_method, azure=request.azure, secret_fields=fields
        )
        return pb.CreateSecretResponse(secret=self.secrets[request.name])

    def GetSecret(self, request: pb.GetSecretRequest, context: grpc.ServicerContext) -> pb.GetSecretResponse:
        self._enter("GetSecret", request, context)
        return pb.GetSecretResponse(secret=self._secret(request.name, context))

    def ListSecrets(self, request: pb.ListSecretsRequest, context: grpc.ServicerContext) -> pb.ListSecretsResponse:
        self._enter("ListSecrets", request, context)
        return pb.ListSecretsResponse(secrets=[self.secrets[name] for name in sorted(self.secrets)])

    def UpdateSecret(self, request: pb.UpdateSecretRequest, context: grpc.ServicerContext) -> pb.UpdateSecretResponse:
        self._enter("UpdateSecret", request, context)
        secret = self._secret(request.name, context)
        secret.credential_version += 1
        return pb.UpdateSecretResponse(secret=secret, verified=() if request.no_verify else secret.connectors)

    def RenameSecret(self, request: pb.RenameSecretRequest, context: grpc.ServicerContext) -> pb.RenameSecretResponse:
        self._enter("RenameSecret", request, context)
        secret = self._secret(request.name, context)
        del self.secrets[request.name]
        secret.name = request.new_name
        self.secrets[request.new_name] = secret
        return pb.RenameSecretResponse(secret=secret)

    def DeleteSecret(self, request: pb.DeleteSecretRequest, context: grpc.ServicerContext) -> pb.DeleteSecretResponse:
        self._enter("DeleteSecret", request, context)
        self._secret(request.name, context)
        del self.secrets[request.name]
        return pb.DeleteSecretResponse()

    def _secret(self, name: str, context: grpc.ServicerContext) -> pb.NamedSecret:
        if name not in self.secrets:
            reason = errors_pb2.ERROR_REASON_SECRET_NOT_FOUND
            self._refuse(context, grpc.StatusCode.NOT_FOUND, f"no secret is named {name}", reason)
        return self.secrets[name]
