"""The synchronous client: one method per call of the API, plain values in and out."""

import os
import warnings
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from valetkey import convert, values
from valetkey.calls.base import PAGE_SIZE, Interruption, several
from valetkey.calls.connector_types import ConnectorTypeCalls
from valetkey.calls.connectors import ConnectorCalls
from valetkey.calls.grants import GrantCalls
from valetkey.calls.ledger import LedgerCalls
from valetkey.calls.secrets import SecretCalls
from valetkey.calls.tokens import TokenCalls
from valetkey.identity import Identity
from valetkey.settings import load_settings
from valetkey.v1 import api_key_service_pb2 as api_key_pb
from valetkey.v1 import resource_service_pb2 as resource_pb
from valetkey.v1.api_key_service_pb2_grpc import ApiKeyServiceStub
from valetkey.v1.resource_service_pb2_grpc import ResourceServiceStub

_DEFAULT_TIMEOUT = 30.0


class Client(TokenCalls, ConnectorCalls, ConnectorTypeCalls, GrantCalls, LedgerCalls, SecretCalls):
    """A connection to one broker, safe to share between threads; close it, or use it as a context manager.

    Every method raises a ValetKeyError of the fitting kind where its call fails.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        api_key: str | None = None,
        api_key_file: str | os.PathLike[str] | None = None,
        token_file: str | os.PathLike[str] | None = None,
        client_cert_file: str | os.PathLike[str] | None = None,
        client_key_file: str | os.PathLike[str] | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        timeout: float = _DEFAULT_TIMEOUT,
        on_interruption: Interruption | None = None,
    ) -> None:
        """Prepares a connection to `HOST:PORT`; the first call makes it.

        The identity is exactly one of: `api_key`, or `api_key_file` that holds it; `token_file`, which holds a JWT;
        `client_cert_file` and `client_key_file`, in PEM form. `ca_file` holds the CA certificates to trust, in PEM
        form; left out, the well-known ones. Files are read again when they change, for they rotate. `timeout` is each
        call's deadline in seconds, all its tries together; `on_interruption` is called with each error that another
        try is to get over. Raises SettingsError or InvalidArgumentError where one of them cannot be used.
        """
        identity = Identity.of(
            api_key=api_key,
            api_key_file=api_key_file,
            token_file=token_file,
            client_cert_file=client_cert_file,
            client_key_file=client_key_file,
        )
        super().__init__(endpoint, identity, Path(ca_file) if ca_file else None, timeout, on_interruption)
        self._resources = ResourceServiceStub(self._channel)
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
        return cls(settings.endpoint, ca_file=settings.ca_file, timeout=timeout, **settings.identity.arguments())

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

    def list_resources(
        self,
        *,
        resource_type: str | None = None,
        connector: str | None = None,
        resource_id: str | None = None,
        refresh: bool = False,
    ) -> list[values.ConnectorResources]:
        """Returns what each of the caller's connectors reaches; one that fails has its error in its entry.

        With `refresh`, the broker asks the cloud now instead of taking what it said in the last two seconds. Raises
        PermissionDeniedError for callers who have none of the roles admin, operator and viewer.
        """
        request = resource_pb.ListResourcesRequest(
            connector=connector or "", resource_id=resource_id or "", refresh=refresh
        )
        if resource_type:
            request.resource_type = convert.to_number(convert.RESOURCE_TYPE, resource_type, "resource_type")
        entries: dict[tuple[str, str], resource_pb.ConnectorResources] = {}
        while True:
            answer = self._call(self._resources.ListResources, request, repeatable=True)
            for entry in answer.connectors:
                # One that a page ends in goes on with the next.
                known = entries.setdefault((entry.connector, entry.connector_uid), resource_pb.ConnectorResources())
                known.MergeFrom(entry)
            if not answer.next_page_token:
                return [convert.connector_resources(entry) for entry in entries.values()]
            request.page_token = answer.next_page_token

    def create_api_key(
        self, name: str, *, roles: Iterable[str] = (), key_sha256: bytes, expire_time: datetime
    ) -> values.ApiKey:
        """Admits a key made with `generate_api_key`, of which only `api_key_sha256` is sent.

        `roles` are of admin, operator, viewer, auditor; a stack component has none and lives by grants to
        `key:NAME`.
        """
        request = api_key_pb.CreateApiKeyRequest(
            name=name,
            roles=[convert.to_number(convert.ROLE, word, "roles") for word in several(roles, "roles", '("viewer",)')],
            expire_time=convert.to_timestamp(expire_time, "expire_time"),
            key_sha256=key_sha256,
        )
        return convert.api_key(self._call(self._api_keys.CreateApiKey, request).api_key)

    def list_api_keys(self) -> list[values.ApiKey]:
        """Returns all API keys, by name."""
        found: list[values.ApiKey] = []
        page = ""
        while True:
            request = api_key_pb.ListApiKeysRequest(page_size=PAGE_SIZE, page_token=page)
            answer = self._call(self._api_keys.ListApiKeys, request, repeatable=True)
            found += map(convert.api_key, answer.api_keys)
            if not (page := answer.next_page_token):
                return found

    def revoke_api_key(self, name: str) -> None:
        """Revokes an API key for good."""
        self._call(self._api_keys.RevokeApiKey, api_key_pb.RevokeApiKeyRequest(name=name))
