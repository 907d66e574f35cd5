"""What the client gives back: plain, immutable values. Times are aware datetimes in UTC."""

from dataclasses import dataclass, field
from datetime import datetime

from valetkey.errors import ValetKeyError


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource that a connector reaches: `az://CONTAINER`, its storage account and its full URL."""

    resource_type: str
    resource_id: str
    account: str
    url: str


@dataclass(frozen=True, slots=True)
class Token:
    """One issued SAS token. Its repr leaves the token out; `expire_time` may lie earlier than asked."""

    lease_id: str
    resource: Resource
    permissions: tuple[str, ...]
    start_time: datetime
    expire_time: datetime
    connector: str
    credential_version: int
    sas_token: str = field(repr=False)

    @property
    def sas_url(self) -> str:
        """URL of the container with the token as its query: as secret as the token itself."""
        return f"{self.resource.url}?{self.sas_token}"


@dataclass(frozen=True, slots=True)
class AzureConfig:
    """Non-secret configuration of an Azure connector. Empty strings stand for "not given"."""

    tenant_id: str
    client_id: str
    cloud: str = ""
    storage_account: str = ""
    subscription_id: str = ""
    resource_group: str = ""


@dataclass(frozen=True, slots=True)
class Connector:
    """A registered connector, without its secret. `resource_id` is empty where it serves all it reaches."""

    name: str
    type: str
    auth_method: str
    resource_type: str
    resource_id: str
    azure: AzureConfig
    credential_version: int
    uid: str
    create_time: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class CreatedConnector:
    """A connector that was just registered, and what it reached while it was verified."""

    connector: Connector
    resources: tuple[Resource, ...]


@dataclass(frozen=True, slots=True)
class ConnectorResources:
    """What one connector reaches, or the error that keeps the broker from saying so."""

    connector_uid: str
    connector: str
    connector_type: str
    resource_type: str
    resources: tuple[Resource, ...]
    error: ValetKeyError | None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as the broker knows it: nothing of its secret."""

    name: str
    roles: tuple[str, ...]
    connectors: tuple[str, ...]
    expire_time: datetime
    uid: str
    create_time: datetime
    created_by: str
