"""The credentials that the broker's surroundings offer, each by the one class of azure-identity that means it."""

import base64
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential

from valetkey_broker.adapters.azure.client_certificate import read_client_certificate
from valetkey_broker.adapters.azure.entra import entra_options
from valetkey_broker.adapters.azure.transport import CLIENT_OPTIONS, Network
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.model import CloudProfile, InvalidFieldError
from valetkey_broker.watched_files import WatchedFiles

_TENANT, _CLIENT = "AZURE_TENANT_ID", "AZURE_CLIENT_ID"
_TOKEN_FILE = "AZURE_FEDERATED_TOKEN_FILE"  # noqa: S105 (the name of a variable)
_SECRET = "AZURE_CLIENT_SECRET"  # noqa: S105
_CERTIFICATE_FILE, _CERTIFICATE_PASSWORD = "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PASSWORD"
_TENANT_ID = re.compile(r"[A-Za-z0-9.-]+")
# Where virtual machines ask: https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service
_METADATA_SERVICE = "http://169.254.169.254"


class ImplicitSetupError(Exception):
    """The broker's surroundings lack something; the text goes on a sentence and quotes no value."""


def managed_identity(client_id: str, network: Network) -> AsyncTokenCredential:
    """Returns the managed identity of where the broker runs: the system's, or the user-assigned one of `client_id`."""
    # Loaded late: see sdk_preload.py.
    from azure.identity.aio import ManagedIdentityCredential  # noqa: PLC0415

    return ManagedIdentityCredential(
        client_id=client_id or None,
        # Where the environment has all that a workload identity needs, it would quietly be one.
        _exclude_workload_identity_credential=True,
        transport=network.neighbour_transport(_identity_endpoint()),
        **CLIENT_OPTIONS,
    )


def workload_identity(tenant_id: str, client_id: str, profile: CloudProfile, network: Network) -> AsyncTokenCredential:
    """Returns the workload identity of the broker's pod, whose token is read anew when its file changes.

    The tenant and the client are the environment's where they are empty. Raises ImplicitSetupError.
    """
    # Loaded late: see sdk_preload.py.
    from azure.identity.aio import WorkloadIdentityCredential  # noqa: PLC0415

    _require([_TOKEN_FILE, *([] if tenant_id else [_TENANT]), *([] if client_id else [_CLIENT])])
    if not tenant_id:
        _check_tenant()

    def make(content: bytes) -> AsyncTokenCredential:
        if not content.strip():
            raise ConfigurationError(f"the file of {_TOKEN_FILE} is empty")
        # It reads the file itself, once in ten minutes at most: a new one has not read it yet.
        return WorkloadIdentityCredential(
            tenant_id=tenant_id or os.environ[_TENANT],
            client_id=client_id or os.environ[_CLIENT],
            token_file_path=os.environ[_TOKEN_FILE],
            **entra_options(profile, network),
        )

    return _FollowedFile(_TOKEN_FILE, make)


def environment(profile: CloudProfile, network: Network) -> AsyncTokenCredential:
    """Returns the service principal that the broker's environment names. Raises ImplicitSetupError."""
    # Loaded late: see sdk_preload.py.
    from azure.identity.aio import EnvironmentCredential  # noqa: PLC0415

    if os.environ.get(_SECRET) or not os.environ.get(_CERTIFICATE_FILE):
        _require([_TENANT, _CLIENT, _SECRET], f", or {_CERTIFICATE_FILE} instead of {_SECRET}")
        _check_tenant()
        return EnvironmentCredential(**entra_options(profile, network))
    _require([_TENANT, _CLIENT])
    _check_tenant()

    def make(content: bytes) -> AsyncTokenCredential:
        text = content.decode("ascii", "replace") if b"-----BEGIN" in content else base64.b64encode(content).decode()
        try:
            read_client_certificate(text, os.environ.get(_CERTIFICATE_PASSWORD, ""))
        except InvalidFieldError as error:
            name = _CERTIFICATE_PASSWORD if error.field.endswith("password") else _CERTIFICATE_FILE
            raise ConfigurationError(f"{name} {error.problem}; expected {error.expected}") from None
        return EnvironmentCredential(**entra_options(profile, network))

    return _FollowedFile(_CERTIFICATE_FILE, make)


class _FollowedFile:
    """A credential that is made anew whenever the file that a variable names changes."""

    def __init__(self, variable: str, make: Callable[[bytes], AsyncTokenCredential]) -> None:
        """Raises ImplicitSetupError where there is no such file, or `make` does not take it."""
        files = {variable: Path(os.environ[variable])}
        self._credential = WatchedFiles(f"the file of {variable}", files, lambda read: make(read[variable]))
        try:
            self._credential.current()
        except ConfigurationError as error:
            raise ImplicitSetupError(str(error)) from None

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return await self._credential.current().get_token(*scopes, **options)

    async def close(self) -> None:
        """Closes nothing: the connections are the network's."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        return None


def _identity_endpoint() -> str:
    """Returns where azure-identity will ask: App Service and its like name the place, virtual machines need not."""
    named = ("IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST")
    return next((os.environ[name] for name in named if os.environ.get(name)), _METADATA_SERVICE)


def _check_tenant() -> None:
    # Of another, such as one with the line end of the file it was made of, azure-identity says so by a ValueError.
    if not _TENANT_ID.fullmatch(os.environ[_TENANT]):
        raise ImplicitSetupError(f"its environment's {_TENANT} is no tenant id; look for blanks, quotes and line ends")


def _require(names: Sequence[str], otherwise: str = "") -> None:
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise ImplicitSetupError(f"its environment lacks {', '.join(missing)}{otherwise}")
