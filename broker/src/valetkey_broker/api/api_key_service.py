"""ApiKeyService: message to domain, one use case, domain to message."""

from datetime import UTC, datetime, timedelta

import grpc.aio

from valetkey.v1 import api_key_service_pb2 as pb
from valetkey.v1 import api_key_service_pb2_grpc
from valetkey_broker.api.convert import ROLES, api_key_message, given_instant, given_seconds, instant
from valetkey_broker.api.paging import page
from valetkey_broker.authn.api_key_admin import ApiKeyAdmin
from valetkey_broker.model import ApiKey, InvalidFieldError
from valetkey_broker.ports import Clock
from valetkey_broker.rpc.current_call import caller


class ApiKeyService(api_key_service_pb2_grpc.ApiKeyServiceServicer):
    """Keeps API keys."""

    def __init__(self, admin: ApiKeyAdmin, clock: Clock) -> None:
        self._admin = admin
        self._clock = clock

    async def CreateApiKey(  # noqa: N802 (gRPC's naming)
        self,
        request: pb.CreateApiKeyRequest,
        context: grpc.aio.ServicerContext[pb.CreateApiKeyRequest, pb.CreateApiKeyResponse],
    ) -> pb.CreateApiKeyResponse:
        """Admits a key."""
        _ = context
        if not request.HasField("expire_time"):
            raise InvalidFieldError("expire_time", "is not given", "a time in the next 366 days")
        key = await self._admin.create(
            name=request.name,
            digest=request.key_sha256,
            roles=[ROLES.read(role) for role in request.roles],
            expires_at=instant(request.expire_time, "expire_time"),
            created_by=caller().name,
        )
        return pb.CreateApiKeyResponse(api_key=self._message(key))

    async def ListApiKeys(  # noqa: N802
        self,
        request: pb.ListApiKeysRequest,
        context: grpc.aio.ServicerContext[pb.ListApiKeysRequest, pb.ListApiKeysResponse],
    ) -> pb.ListApiKeysResponse:
        """Lists keys by name."""
        _ = context
        shown, token = page(self._admin.all(), lambda key: key.name, request.page_size, request.page_token)
        return pb.ListApiKeysResponse(api_keys=[self._message(key) for key in shown], next_page_token=token)

    async def RotateApiKey(  # noqa: N802
        self,
        request: pb.RotateApiKeyRequest,
        context: grpc.aio.ServicerContext[pb.RotateApiKeyRequest, pb.RotateApiKeyResponse],
    ) -> pb.RotateApiKeyResponse:
        """Gives a key another secret."""
        _ = context
        overlap = given_seconds(request, "overlap")
        if overlap is None:
            raise InvalidFieldError("overlap", "is not given", "how long the key of before stays good, or 0s")
        key = await self._admin.rotate(
            name=request.name,
            digest=request.key_sha256,
            overlap=timedelta(seconds=overlap),
            expires_at=given_instant(request, "expire_time"),
            rotated_by=caller().name,
        )
        return pb.RotateApiKeyResponse(api_key=self._message(key))

    async def RevokeApiKey(  # noqa: N802
        self,
        request: pb.RevokeApiKeyRequest,
        context: grpc.aio.ServicerContext[pb.RevokeApiKeyRequest, pb.RevokeApiKeyResponse],
    ) -> pb.RevokeApiKeyResponse:
        """Revokes a key."""
        _ = context
        await self._admin.revoke(request.name, revoked_by=caller().name)
        return pb.RevokeApiKeyResponse()

    def _message(self, key: ApiKey) -> pb.ApiKey:
        return api_key_message(key, datetime.fromtimestamp(self._clock(), UTC))
