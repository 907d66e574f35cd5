"""SecretService: message to domain, one use case, domain to message. No value ever goes into an answer."""

from functools import partial

import grpc.aio

from valetkey.v1 import secret_service_pb2 as pb
from valetkey.v1 import secret_service_pb2_grpc
from valetkey_broker.api.convert import (
    AUTH_METHODS,
    CONNECTOR_TYPES,
    azure_config,
    given_instant,
    given_secrets,
    secret_message,
)
from valetkey_broker.api.paging import page
from valetkey_broker.connectors.connector_admin import ConnectorAdmin
from valetkey_broker.connectors.named_secret_admin import NamedSecretAdmin, NewSecret, SecretChange
from valetkey_broker.model import NamedSecret
from valetkey_broker.rpc.call_recorder import Recorder
from valetkey_broker.rpc.current_call import caller, current_call

_MOST_CONNECTORS = 1_000
# In a list, where there may be many secrets.
_FEW_CONNECTORS = 10


class SecretService(secret_service_pb2_grpc.SecretServiceServicer):
    """Keeps named secrets."""

    def __init__(self, secrets: NamedSecretAdmin, connector_admin: ConnectorAdmin, recorder: Recorder) -> None:
        self._secrets = secrets
        self._connector_admin = connector_admin
        self._recorder = recorder

    async def CreateSecret(  # noqa: N802 (gRPC's naming)
        self,
        request: pb.CreateSecretRequest,
        context: grpc.aio.ServicerContext[pb.CreateSecretRequest, pb.CreateSecretResponse],
    ) -> pb.CreateSecretResponse:
        """Stores a secret."""
        _ = context
        new = NewSecret(
            name=request.name,
            type=CONNECTOR_TYPES.read(request.type),
            auth_method=AUTH_METHODS.read(request.auth_method),
            azure=azure_config(request.azure),
            secrets=given_secrets(request.azure_secret),
            verify=request.verify,
            expires_at=given_instant(request, "expire_time"),
        )
        secret = await self._secrets.create(new, created_by=caller().name)
        return pb.CreateSecretResponse(secret=self._message(secret))

    async def GetSecret(  # noqa: N802
        self, request: pb.GetSecretRequest, context: grpc.aio.ServicerContext[pb.GetSecretRequest, pb.GetSecretResponse]
    ) -> pb.GetSecretResponse:
        """Tells of one secret."""
        _ = context
        return pb.GetSecretResponse(secret=self._message(self._secrets.get(request.name)))

    async def ListSecrets(  # noqa: N802
        self,
        request: pb.ListSecretsRequest,
        context: grpc.aio.ServicerContext[pb.ListSecretsRequest, pb.ListSecretsResponse],
    ) -> pb.ListSecretsResponse:
        """Lists secrets by name."""
        _ = context
        shown, token = page(self._secrets.all(), lambda secret: secret.name, request.page_size, request.page_token)
        messages = [self._message(secret, most=_FEW_CONNECTORS) for secret in shown]
        return pb.ListSecretsResponse(secrets=messages, next_page_token=token)

    async def UpdateSecret(  # noqa: N802
        self,
        request: pb.UpdateSecretRequest,
        context: grpc.aio.ServicerContext[pb.UpdateSecretRequest, pb.UpdateSecretResponse],
    ) -> pb.UpdateSecretResponse:
        """Gives a secret another value.

        Where keys of a connector turn out to be dead, dropping them is a change of that connector, and on record so.
        """
        _ = context
        change = SecretChange(
            name=request.name,
            auth_method=AUTH_METHODS.read(request.auth_method) if request.auth_method else "",
            azure=azure_config(request.azure),
            secrets=given_secrets(request.azure_secret),
            remove=request.remove_fields,
            no_verify=request.no_verify,
            expires_at=given_instant(request, "expire_time"),
        )
        changed = await self._secrets.update(change, caller(), self._drop_keys)
        return pb.UpdateSecretResponse(secret=self._message(changed.secret), verified=changed.verified)

    async def RenameSecret(  # noqa: N802
        self,
        request: pb.RenameSecretRequest,
        context: grpc.aio.ServicerContext[pb.RenameSecretRequest, pb.RenameSecretResponse],
    ) -> pb.RenameSecretResponse:
        """Gives a secret another name."""
        _ = context
        secret = await self._secrets.rename(request.name, request.new_name, renamed_by=caller().name)
        return pb.RenameSecretResponse(secret=self._message(secret))

    async def DeleteSecret(  # noqa: N802
        self,
        request: pb.DeleteSecretRequest,
        context: grpc.aio.ServicerContext[pb.DeleteSecretRequest, pb.DeleteSecretResponse],
    ) -> pb.DeleteSecretResponse:
        """Deletes a secret that nobody uses."""
        _ = context
        await self._secrets.delete(request.name, deleted_by=caller().name)
        return pb.DeleteSecretResponse()

    async def _drop_keys(self, connector: str) -> None:
        drop = partial(self._connector_admin.drop_signing_keys, connector)
        await self._recorder.change(current_call.get(), f"connectors/{connector}", {}, drop)

    def _message(self, secret: NamedSecret, most: int = _MOST_CONNECTORS) -> pb.NamedSecret:
        return secret_message(secret, self._secrets.users(secret), most)
