"""Client of Valet Key, the broker that hands out short-lived SAS tokens for Azure Blob Storage.

The names load when they are first used, so that the generated `valetkey.v1`, which the broker shares, brings
along nothing but itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valetkey.api_keys import api_key_sha256, generate_api_key
    from valetkey.async_client import AsyncClient
    from valetkey.async_token_source import AsyncTokenSource
    from valetkey.calls.tokens import TokenRequest
    from valetkey.checklist_values import Check
    from valetkey.client import Client
    from valetkey.connector_type_values import ConnectorTypeDescription
    from valetkey.errors import (
        AlreadyExistsError,
        BrokerTlsError,
        BrokerUnreachableError,
        ConflictError,
        ConnectionLostError,
        DeadlineExceededError,
        FailedPreconditionError,
        InvalidArgumentError,
        NotFoundError,
        PermissionDeniedError,
        SettingsError,
        UnauthenticatedError,
        UnavailableError,
        ValetKeyError,
        WatchEndedError,
    )
    from valetkey.identity import Identity
    from valetkey.identity_values import CallerIdentity
    from valetkey.ledger_values import Event, Lease, LedgerHead, LedgerVerification
    from valetkey.revocation_values import RevocationTarget
    from valetkey.rotation_values import RotationSchedule
    from valetkey.settings import Settings, load_settings
    from valetkey.token_source import TokenSource
    from valetkey.values import (
        AccessExplanation,
        AccountError,
        ApiKey,
        AzureConfig,
        Connector,
        ConnectorResources,
        CreatedConnector,
        Grant,
        GrantedConnector,
        GrantFinding,
        GrantSpec,
        Resource,
        Resources,
        Token,
    )

_HOMES = {
    "api_key_sha256": "api_keys",
    "generate_api_key": "api_keys",
    "AsyncClient": "async_client",
    "AsyncTokenSource": "async_token_source",
    "TokenSource": "token_source",
    "Client": "client",
    "ConnectorTypeDescription": "connector_type_values",
    "AlreadyExistsError": "errors",
    "BrokerTlsError": "errors",
    "BrokerUnreachableError": "errors",
    "ConflictError": "errors",
    "ConnectionLostError": "errors",
    "DeadlineExceededError": "errors",
    "FailedPreconditionError": "errors",
    "InvalidArgumentError": "errors",
    "NotFoundError": "errors",
    "PermissionDeniedError": "errors",
    "SettingsError": "errors",
    "UnauthenticatedError": "errors",
    "UnavailableError": "errors",
    "ValetKeyError": "errors",
    "WatchEndedError": "errors",
    "Identity": "identity",
    "Settings": "settings",
    "load_settings": "settings",
    "AccessExplanation": "values",
    "ApiKey": "values",
    "AzureConfig": "values",
    "Connector": "values",
    "AccountError": "values",
    "Check": "checklist_values",
    "CallerIdentity": "identity_values",
    "ConnectorResources": "values",
    "Resources": "values",
    "CreatedConnector": "values",
    "Event": "ledger_values",
    "Grant": "values",
    "GrantFinding": "values",
    "GrantSpec": "values",
    "GrantedConnector": "values",
    "Lease": "ledger_values",
    "LedgerHead": "ledger_values",
    "LedgerVerification": "ledger_values",
    "Resource": "values",
    "RevocationTarget": "revocation_values",
    "RotationSchedule": "rotation_values",
    "Token": "values",
    "TokenRequest": "calls.tokens",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"valetkey.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


__all__ = [
    "AccessExplanation",
    "AccountError",
    "AlreadyExistsError",
    "ApiKey",
    "AsyncClient",
    "AsyncTokenSource",
    "AzureConfig",
    "BrokerTlsError",
    "BrokerUnreachableError",
    "CallerIdentity",
    "Check",
    "Client",
    "ConflictError",
    "ConnectionLostError",
    "Connector",
    "ConnectorResources",
    "ConnectorTypeDescription",
    "CreatedConnector",
    "DeadlineExceededError",
    "Event",
    "FailedPreconditionError",
    "Grant",
    "GrantFinding",
    "GrantSpec",
    "GrantedConnector",
    "Identity",
    "InvalidArgumentError",
    "Lease",
    "LedgerHead",
    "LedgerVerification",
    "NotFoundError",
    "PermissionDeniedError",
    "Resource",
    "Resources",
    "RevocationTarget",
    "RotationSchedule",
    "Settings",
    "SettingsError",
    "Token",
    "TokenRequest",
    "TokenSource",
    "UnauthenticatedError",
    "UnavailableError",
    "ValetKeyError",
    "WatchEndedError",
    "api_key_sha256",
    "generate_api_key",
    "load_settings",
]
