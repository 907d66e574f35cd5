"""The synchronous client: one method per call of the API, plain values in and out."""

import os
import warnings
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import grpc

from valetkey import convert, values
from valetkey.channel import open_channel, parse_endpoint
from valetkey.errors import InvalidArgumentError, ValetKeyError, from_rpc_error
from valetkey.settings import load_settings
from valetkey.v1 import api_key_service_pb2 as api_key_pb
from valetkey.v1 import connector_service_pb2 as connector_pb
from valetkey.v1 import resource_service_pb2 as resource_pb
from valetkey.v1 import token_service_pb2 as token_pb
from valetkey.v1.api_key_service_pb2_grpc import ApiKeyServiceStub
from valetkey.v1.connector_service_pb2_grpc import ConnectorServiceStub
from valetkey.v1.resource_service_pb2_grpc import ResourceServiceStub
from valetkey.v1.token_service_pb2_grpc import TokenServiceStub

Request = TypeVar("Request")
Response = TypeVar("Response")

_DEFAULT_TIMEOUT = 30.0
_MAX_TIMEOUT = 3600.0
_PAGE_SIZE = 500


class Client:
    """A connection to one broker, safe to share between threads; close it, or use it as a context manager.

    Every method raises a ValetKeyError of the fitting kind where its call fails.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        api_key: str,
        ca_file: str | os.PathLike[str] | None = None,
        timeout: float = _DEFAULT_TIMEOUT,
    ) -> None:
        """Prepares a connection to `HOST:PORT`; the first call makes it.

        `ca_file` holds the CA certificates to trust, in PEM form; left out, the well-known ones. `timeout` is
        each call's deadline in seconds. Raises SettingsError where one of them cannot be used.
        """
        if not 0 < timeout <= _MAX_TIMEOUT:
            raise InvalidArgumentError(f"timeout: {timeout:g} s is out of range; expected over 0 and up to 3600 s")
        self._closed = False
        self._endpoint = parse_endpoint(endpoint)
        self._timeout = timeout
        self._channel = open_channel(self._endpoint, api_key, Path(ca_file) if ca_file else None)
        self._tokens = TokenServiceStub(self._channel)
        self._resources = ResourceServiceStub(self._channel)
        self._connectors = ConnectorServiceStub(self._channel)
        self._api_keys = ApiKeyServiceStub(self._channel)

    @classmethod
    def from_settings(
        cls, *, config_file: str | os.PathLike[str] | None = None, timeout: float = _DEFAULT_TIMEOUT
    ) -> Self:
        """Returns a client for what the environment and the config file say; see `load_settings`.

        Raises SettingsError where something is missing or unusable.
        """
        settings = load_settings(config_file=config_file)
        for warning in settings.warnings:
            warnings.warn(warning, stacklevel=2)
        return cls(settings.endpoint, api_key=settings.api_key, ca_file=settings.ca_file, timeout=timeout)

    def __repr__(self) -> str:
        return f"Client({self._endpoint!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection for good; calls under way are cancelled."""
        self._closed = True
        self._channel.close()

    def issue_token(
        self,
        resource: str,
        permissions: Iterable[str],
        *,
        ttl: timedelta | None = None,
        connector: str | None = None,
        source_ip: str | None = None,
    ) -> values.Token:
        """Returns a SAS token for one resource.

        `permissions` are of read, add, create, write, delete, list. `ttl` left out is the broker's default,
        15 minutes; `connector` may be left out where only one of the caller's serves the resource;
        `source_ip` binds the token to an IPv4 address or range.
        """
        if isinstance(permissions, str):
            raise InvalidArgumentError('permissions: is one string; expected several, such as ("read", "list")')
        request = token_pb.IssueTokenRequest(
            resource_id=resource,
            permissions=[convert.to_number(convert.PERMISSION, word, "permissions") for word in permissions],
            ttl=None if ttl is None else convert.to_duration(ttl, "ttl"),
            connector=connector or "",
            source_ip=source_ip or "",
        )
        return convert.token(self._call(self._tokens.IssueToken, request))

    def list_resources(
        self,
        *,
        resource_type: str | None = None,
        connector: str | None = None,
        resource_id: str | None = None,
    ) -> list[values.ConnectorResources]:
        """Returns what each of the caller's connectors reaches; one that fails has its error in its entry."""
        request = resource_pb.ListResourcesRequest(connector=connector or "", resource_id=resource_id or "")
        if resource_type:
            request.resource_type = convert.to_number(convert.RESOURCE_TYPE, resource_type, "resource_type")
        answer = self._call(self._resources.ListResources, request)
        return [convert.connector_resources(entry) for entry in answer.connectors]

    def create_connector(
        self,
        name: str,
        *,
        azure: values.AzureConfig,
        client_secret: str,
        type: str = "azure",  # noqa: A002 (the API's word)
        auth_method: str = "service-principal",
        resource_type: str = "blob-container",
        resource_id: str | None = None,
    ) -> values.CreatedConnector:
        """Verifies and stores a connector; stores nothing where verification fails.

        `resource_id` is the one resource it shall serve; left out, it serves all it reaches.
        """
        request = connector_pb.CreateConnectorRequest(
            name=name,
            type=convert.to_number(convert.CONNECTOR_TYPE, type, "type"),
            auth_method=convert.to_number(convert.AUTH_METHOD, auth_method, "auth_method"),
            resource_type=convert.to_number(convert.RESOURCE_TYPE, resource_type, "resource_type"),
            resource_id=resource_id or "",
            azure=connector_pb.AzureConfig(
                tenant_id=azure.tenant_id,
                client_id=azure.client_id,
                cloud=azure.cloud,
                storage_account=azure.storage_account,
                subscription_id=azure.subscription_id,
                resource_group=azure.resource_group,
            ),
            azure_secret=connector_pb.AzureSecret(client_secret=client_secret),
        )
        answer = self._call(self._connectors.CreateConnector, request)
        return values.CreatedConnector(convert.connector(answer.connector), convert.resources(answer.resources))

    def get_connector(self, name: str) -> values.Connector:
        """Returns one connector."""
        answer = self._call(self._connectors.GetConnector, connector_pb.GetConnectorRequest(name=name))
        return convert.connector(answer.connector)

    def list_connectors(self) -> list[values.Connector]:
        """Returns all connectors, by name."""
        found: list[values.Connector] = []
        page = ""
        while True:
            request = connector_pb.ListConnectorsRequest(page_size=_PAGE_SIZE, page_token=page)
            answer = self._call(self._connectors.ListConnectors, request)
            found += map(convert.connector, answer.connectors)
            if not (page := answer.next_page_token):
                return found

    def delete_connector(self, name: str) -> None:
        """Deletes a connector and every version of its credential."""
        self._call(self._connectors.DeleteConnector, connector_pb.DeleteConnectorRequest(name=name))

    def verify_connector(self, name: str) -> tuple[values.Resource, ...]:
        """Logs in with a stored connector and returns what it reaches now."""
        answer = self._call(self._connectors.VerifyConnector, connector_pb.VerifyConnectorRequest(name=name))
        return convert.resources(answer.resources)

    def create_api_key(
        self,
        name: str,
        *,
        roles: Iterable[str],
        key_sha256: bytes,
        expire_time: datetime,
        connectors: Iterable[str] = (),
    ) -> values.ApiKey:
        """Admits a key made with `generate_api_key`, of which only `api_key_sha256` is sent.

        `roles` are of admin, operator, viewer, consumer; `connectors` are those a consumer may use.
        """
        request = api_key_pb.CreateApiKeyRequest(
            name=name,
            roles=[convert.to_number(convert.ROLE, word, "roles") for word in roles],
            connectors=connectors,
            expire_time=convert.to_timestamp(expire_time, "expire_time"),
            key_sha256=key_sha256,
        )
        return convert.api_key(self._call(self._api_keys.CreateApiKey, request).api_key)

    def list_api_keys(self) -> list[values.ApiKey]:
        """Returns all API keys, by name."""
        found: list[values.ApiKey] = []
        page = ""
        while True:
            request = api_key_pb.ListApiKeysRequest(page_size=_PAGE_SIZE, page_token=page)
            answer = self._call(self._api_keys.ListApiKeys, request)
            found += map(convert.api_key, answer.api_keys)
            if not (page := answer.next_page_token):
                return found

    def revoke_api_key(self, name: str) -> None:
        """Revokes an API key for good."""
        self._call(self._api_keys.RevokeApiKey, api_key_pb.RevokeApiKeyRequest(name=name))

    def _call(self, method: "grpc.UnaryUnaryMultiCallable[Request, Response]", request: Request) -> Response:
        if self._closed:
            raise ValetKeyError("this client is closed; expected calls before close(), or make a new Client")
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            # The cause is left out: gRPC's own text repeats what the error says.
            raise from_rpc_error(error, self._endpoint, self._timeout) from None
