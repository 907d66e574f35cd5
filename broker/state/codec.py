"""Documents as Vault keeps them, to domain values and back."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from broker.model import (
    ApiKey,
    AuthMethod,
    AzureConfig,
    Connector,
    ConnectorType,
    ResourceId,
    ResourceType,
    Role,
)


def is_tombstone(data: Mapping[str, Any]) -> bool:
    """Tells whether a document marks a deleted object; its name may be used again."""
    return bool(data.get("deleted"))


def encode_connector(connector: Connector) -> dict[str, Any]:
    """Returns the document of a connector; it holds nothing secret."""
    resource = connector.resource
    return {
        "uid": connector.uid,
        "type": connector.type.value,
        "auth_method": connector.auth_method.value,
        "resource_type": connector.resource_type.value,
        "resource": {"container": resource.container, "account": resource.account} if resource else None,
        "azure": asdict(connector.azure),
        "credential_version": connector.credential_version,
        "created_at": connector.created_at.isoformat(),
        "created_by": connector.created_by,
    }


def decode_connector(name: str, data: Mapping[str, Any]) -> Connector:
    """Returns the connector in a document. Raises KeyError, TypeError or ValueError where it is malformed."""
    resource = data["resource"]
    return Connector(
        name=name,
        uid=str(data["uid"]),
        type=ConnectorType(data["type"]),
        auth_method=AuthMethod(data["auth_method"]),
        resource_type=ResourceType(data["resource_type"]),
        resource=ResourceId(ResourceId.parse(resource["container"]).container, account=resource["account"])
        if resource
        else None,
        azure=AzureConfig(**data["azure"]),
        credential_version=int(data["credential_version"]),
        created_at=_instant(data["created_at"]),
        created_by=str(data["created_by"]),
    )


def encode_api_key(key: ApiKey) -> dict[str, Any]:
    """Returns the document of an API key: of the secret only its hash."""
    return {
        "uid": key.uid,
        "sha256": key.digest.hex(),
        "roles": sorted(role.value for role in key.roles),
        "connectors": sorted(key.connectors),
        "expires_at": key.expires_at.isoformat(),
        "created_at": key.created_at.isoformat(),
        "created_by": key.created_by,
    }


def decode_api_key(name: str, data: Mapping[str, Any]) -> ApiKey:
    """Returns the API key in a document. Raises KeyError, TypeError or ValueError where it is malformed."""
    return ApiKey(
        name=name,
        uid=str(data["uid"]),
        digest=bytes.fromhex(data["sha256"]),
        roles=frozenset(Role(role) for role in data["roles"]),
        connectors=frozenset(str(connector) for connector in data["connectors"]),
        expires_at=_instant(data["expires_at"]),
        created_at=_instant(data["created_at"]),
        created_by=str(data["created_by"]),
    )


def _instant(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:  # Which instant that is would hang on the machine, and comparing it would fail later.
        raise ValueError("a time without its zone")
    return when
