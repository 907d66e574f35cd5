"""The use cases around connectors."""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from valetkey_broker.connectors.listings import RecentListings
from valetkey_broker.connectors.verify import pinned, serving, verify
from valetkey_broker.errors import BrokerError, cloud_timeout, connector_exists, connector_not_found
from valetkey_broker.model import (
    AuthMethod,
    AzureConfig,
    CloudProfile,
    Connector,
    ConnectorType,
    Container,
    Credential,
    InvalidFieldError,
    ResourceId,
    ResourceType,
    Secret,
    check_account,
    check_name,
    check_uuid,
)
from valetkey_broker.model.names import check_resource_group
from valetkey_broker.ports import Clock, Cloud
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository

_LISTINGS_AT_ONCE = 8
_MAX_SECRET_LENGTH = 4096


@dataclass(frozen=True, slots=True)
class NewConnector:
    """What an operator asks to register, not yet validated."""

    name: str
    type: ConnectorType
    auth_method: AuthMethod
    resource_type: ResourceType
    resource_id: str
    azure: AzureConfig
    client_secret: Secret


@dataclass(frozen=True, slots=True)
class Reach:
    """What one connector reaches, or the error that says why nobody can tell."""

    connector: Connector
    containers: Sequence[Container]
    error: BrokerError | None = None


class ConnectorRegistry:
    """Registers, verifies, shows and deletes connectors."""

    def __init__(
        self,
        *,
        repository: StateRepository,
        memory: Memory,
        cloud: Cloud,
        profiles: Mapping[str, CloudProfile],
        default_cloud: str,
        clock: Clock,
        timeout_seconds: float,
    ) -> None:
        self._repository = repository
        self._memory = memory
        self._cloud = cloud
        self._profiles = profiles
        self._default_cloud = default_cloud
        self._clock = clock
        self._timeout = timeout_seconds
        self._listings = RecentListings(self._listed, clock)

    async def close(self) -> None:
        """Ends what is under way."""
        await self._listings.close()

    async def create(self, new: NewConnector, *, created_by: str) -> tuple[Connector, Sequence[Container]]:
        """Verifies a new connector and stores it; stores nothing where verification fails.

        Returns it with what it reaches. Raises InvalidFieldError, CONNECTOR_EXISTS, or what `verify` raises.
        """
        draft = self._validated(new, created_by)
        if draft.name in self._memory.connectors:  # Saves a slow verification; the write itself decides.
            raise connector_exists(draft.name)
        try:
            containers = await self._verified(draft, Credential(0, new.client_secret))
        finally:
            await self._cloud.forget(draft.uid)  # Clients of a draft must not outlive it.
        if draft.resource is not None:
            draft = pinned(draft, containers[0])
        return await self._repository.create_connector(draft, new.client_secret), containers

    def get(self, name: str) -> Connector:
        """Returns a connector. Raises CONNECTOR_NOT_FOUND."""
        connector = self._memory.connectors.get(check_name("name", name))
        if connector is None:
            raise connector_not_found(name)
        return connector

    def all(self) -> Sequence[Connector]:
        """Returns all connectors by name."""
        return [self._memory.connectors[name] for name in sorted(self._memory.connectors)]

    async def delete(self, name: str, *, deleted_by: str) -> None:
        """Deletes a connector and its credential. Raises CONNECTOR_NOT_FOUND."""
        await self._repository.delete_connector(check_name("name", name), deleted_by)

    async def verify(self, name: str) -> Sequence[Container]:
        """Logs in anew with a stored connector and returns what it reaches."""
        connector = self.get(name)
        return await self._verified(connector, await self._repository.credential(connector))

    async def reach(
        self,
        connectors: Sequence[Connector],
        only: ResourceId | None,
        may_see: Callable[[Connector, Container], bool] = lambda _connector, _container: True,
    ) -> Sequence[Reach]:
        """Says what each of `connectors` reaches, or reached a moment ago; one that fails does not hide the others.

        What `may_see` refuses shows up nowhere, errors included.
        """
        slots = asyncio.Semaphore(_LISTINGS_AT_ONCE)

        async def ask(connector: Connector) -> Reach:
            async with slots:
                try:
                    found = await self._listings.get(connector)
                    seen = serving(connector, [container for container in found if may_see(connector, container)])
                except BrokerError as error:
                    return Reach(connector, (), error)
            return Reach(connector, [c for c in seen if only is None or self._means(only, connector, c)])

        return await asyncio.gather(*(ask(connector) for connector in connectors))

    async def _listed(self, connector: Connector) -> Sequence[Container]:
        try:
            async with asyncio.timeout(self._timeout):
                credential = await self._repository.credential(connector)
                return await self._cloud.find_containers(connector, credential)
        except TimeoutError:
            raise cloud_timeout(connector.name, self._timeout) from None

    def _means(self, wanted: ResourceId, connector: Connector, container: Container) -> bool:
        if wanted.endpoint is not None:
            profile = self._profiles.get(connector.azure.cloud)
            if profile is None or profile.blob_url(container.account) != wanted.endpoint:
                return False
        return wanted.container == container.name

    async def _verified(self, connector: Connector, credential: Credential) -> Sequence[Container]:
        try:
            async with asyncio.timeout(self._timeout):
                return await verify(self._cloud, self._clock, connector, credential)
        except TimeoutError:
            raise cloud_timeout(connector.name, self._timeout) from None

    def _validated(self, new: NewConnector, created_by: str) -> Connector:
        azure = new.azure
        cloud = azure.cloud or self._default_cloud
        if cloud not in self._profiles:
            raise InvalidFieldError("cloud", "is not a cloud profile of this broker", ", ".join(sorted(self._profiles)))
        secret = new.client_secret.reveal()
        if not secret or len(secret) > _MAX_SECRET_LENGTH or not secret.isascii() or not secret.isprintable():
            raise InvalidFieldError(
                "client_secret",
                f"is {len(secret)} characters long, or holds something else than printable ASCII",
                f"the secret's value, 1 to {_MAX_SECRET_LENGTH} printable characters without line ends",
            )
        config = AzureConfig(
            tenant_id=check_uuid("tenant_id", azure.tenant_id),
            client_id=check_uuid("client_id", azure.client_id),
            cloud=cloud,
            storage_account=azure.storage_account and check_account("storage_account", azure.storage_account),
            subscription_id=azure.subscription_id and check_uuid("subscription_id", azure.subscription_id),
            resource_group=azure.resource_group and check_resource_group("resource_group", azure.resource_group),
        )
        config, resource = self._resource(new.resource_id, config)
        return Connector(
            name=check_name("name", new.name),
            uid=str(uuid.uuid4()),
            type=new.type,
            auth_method=new.auth_method,
            resource_type=new.resource_type,
            resource=resource,
            azure=config,
            credential_version=0,
            created_at=datetime.fromtimestamp(self._clock(), UTC),
            created_by=created_by,
        )

    def _resource(self, resource_id: str, config: AzureConfig) -> tuple[AzureConfig, ResourceId | None]:
        """Returns the configuration with the account that a full URL names, and the one resource to serve."""
        if not resource_id:
            return config, None
        resource = ResourceId.parse(resource_id)
        if resource.prefix:
            raise InvalidFieldError(
                "resource_id",
                "names a path inside the container",
                "a container: a connector serves whole containers",
            )
        if resource.account is None:
            return config, resource
        if resource.endpoint != self._profiles[config.cloud].blob_url(resource.account):
            raise InvalidFieldError(
                "resource_id",
                f"its host is not of the cloud {config.cloud}",
                self._profiles[config.cloud].container_url("ACCOUNT", resource.container),
            )
        if config.storage_account not in ("", resource.account):
            raise InvalidFieldError("resource_id", "names another account than storage_account", "one account")
        return replace(config, storage_account=resource.account), resource
