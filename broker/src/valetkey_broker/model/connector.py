"""Connectors and the credentials behind them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from valetkey_broker.model.resource import ResourceId, ResourceType
from valetkey_broker.model.secret import Secret


class ConnectorType(Enum):
    """Kind of cloud."""

    AZURE = "azure"


class AuthMethod(Enum):
    """How a connector logs in."""

    SERVICE_PRINCIPAL = "service-principal"


@dataclass(frozen=True, slots=True)
class AzureConfig:
    """Non-secret configuration of an Azure connector. Empty strings stand for "not given"."""

    tenant_id: str
    client_id: str
    cloud: str
    storage_account: str = ""
    subscription_id: str = ""
    resource_group: str = ""


@dataclass(frozen=True, slots=True)
class Connector:
    """A named way into a cloud account.

    `resource` is the one container a single-instance connector serves, always with its account; None makes the
    connector multi-instance: it serves all it reaches. `uid` is not inherited by a later connector of the same name.
    `credential_version` is the KV version of the credential in use.
    """

    name: str
    uid: str
    type: ConnectorType
    auth_method: AuthMethod
    resource_type: ResourceType
    resource: ResourceId | None
    azure: AzureConfig
    credential_version: int
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class Credential:
    """The long-lived secret behind a connector, in one version."""

    version: int
    client_secret: Secret = field(repr=False)
