"""The use cases around connectors."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from valetkey_broker.concurrency.gather_outcomes import outcomes
from valetkey_broker.concurrency.slices import slices
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.connector_types import ConnectorTypeDescription, connector_types
from valetkey_broker.connectors.credential_warnings import credential_warnings
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.connectors.reach_result import AccountError, Reach
from valetkey_broker.connectors.verify import Proof, pinned, verify
from valetkey_broker.errors import BrokerError, connector_exists, connector_not_found
from valetkey_broker.model import (
    AzureConfig,
    CloudProfile,
    Connector,
    ConnectorType,
    Container,
    Credential,
    CredentialValue,
    InvalidFieldError,
    ResourceId,
    ResourceType,
    Secret,
    SigningKey,
    check_account,
    check_name,
    check_uuid,
)
from valetkey_broker.model.names import check_resource_group
from valetkey_broker.ports import AuthMethod, Clock, Cloud
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository


@dataclass(frozen=True, slots=True)
class NewConnector:
    """What an operator asks to register, not yet validated. `secrets` are by field of the auth method."""

    name: str
    type: ConnectorType
    auth_method: str
    resource_type: ResourceType
    resource_id: str
    azure: AzureConfig
    secrets: Mapping[str, Secret]


@dataclass(frozen=True, slots=True)
class ConnectorReach:
    """What one connector reaches, or the error that says why nobody can tell; `errors` are those of single accounts."""

    connector: Connector
    containers: Sequence[Container]
    errors: Sequence[AccountError] = ()
    error: BrokerError | None = None


class ConnectorRegistry:
    """Registers, verifies, shows and deletes connectors."""

    def __init__(
        self,
        *,
        repository: StateRepository,
        memory: Memory,
        cloud: Cloud,
        reach: ReachCache,
        auth_methods: Mapping[str, AuthMethod],
        signing_keys: Callable[[Connector], Sequence[SigningKey]],
        profiles: Mapping[str, CloudProfile],
        default_cloud: str,
        clock: Clock,
        timeout_seconds: float,
    ) -> None:
        """`signing_keys` gives the keys that sign for a connector now; `timeout_seconds` is for one question to it."""
        self._repository = repository
        self._memory = memory
        self._cloud = cloud
        self._profiles = profiles
        self._default_cloud = default_cloud
        self._clock = clock
        self._timeout = timeout_seconds
        self._reach = reach
        self._auth_methods = auth_methods
        self._signing_keys = signing_keys

    async def create(self, new: NewConnector, *, created_by: str) -> tuple[Connector, Reach]:
        """Verifies a new connector and stores it; stores nothing where verification fails.

        Returns it with what it reaches. Raises InvalidFieldError, CONNECTOR_EXISTS, or what `verify` raises.
        """
        draft, value = self._validated(new, created_by)
        if draft.name in self._memory.connectors:  # Saves a slow verification; the write itself decides.
            raise connector_exists(draft.name)
        try:
            proof = await self._verified(draft, Credential(0, value))
        finally:
            await self._cloud.forget(draft.uid)  # Clients of a draft must not outlive it.
        if draft.resource is not None:
            draft = pinned(draft, proof.reach.containers[0])
        if proof.keys_revoked:
            draft = replace(draft, keys_not_before=int(self._clock()))
        return await self._repository.create_connector(draft, value), proof.reach

    async def warnings(self, connector: Connector) -> Sequence[str]:
        """Returns what those should know who look after a stored connector."""
        try:
            credential = await self._repository.credential(connector)
        except BrokerError:
            return []  # The connector is there; nobody needs to hear now that Vault is not.
        return credential_warnings(credential.value.expires_at, self._clock())

    async def check(self, new: NewConnector, *, checked_by: str) -> Reach:
        """Verifies a new connector as `create` does, and returns what it would reach; stores nothing.

        Raises InvalidFieldError, CONNECTOR_EXISTS, or what `verify` raises.
        """
        draft, value = self._validated(new, checked_by)
        if draft.name in self._memory.connectors:
            raise connector_exists(draft.name)
        try:
            return (await self._verified(draft, Credential(0, value))).reach
        finally:
            await self._cloud.forget(draft.uid)

    def types(self) -> Sequence[ConnectorTypeDescription]:
        """Returns what types connectors can have here."""
        return connector_types(self._auth_methods)

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

    async def verify(self, name: str) -> Proof:
        """Logs in anew with a stored connector, and returns what it reaches with tokens of a fresh key.

        `keys_revoked` tells too where storage no longer accepts a key that tokens are signed with now: the keys are to
        be dropped, which is a change, and so not done here.
        """
        connector = self.get(name)
        proof = await self._verified(connector, await self._repository.credential(connector))
        return replace(proof, keys_revoked=proof.keys_revoked or await self._has_dead_key(connector, proof.reach))

    async def drop_signing_keys(self, name: str) -> Connector:
        """Has every replica fetch new signing keys; tokens that are out stay. Raises CONNECTOR_NOT_FOUND."""
        return await self._repository.drop_signing_keys(check_name("name", name), int(self._clock()))

    async def _has_dead_key(self, connector: Connector, reach: Reach) -> bool:
        questions = CloudClient(self._cloud, self._repository.credential, self._timeout)
        for key in self._signing_keys(connector):
            one = next((each for each in reach.containers if each.account == key.account), None)
            if one is not None and not await questions.accepts(connector, one, key):
                return True
        return False

    async def reach(
        self,
        connectors: Sequence[Connector],
        only: ResourceId | None,
        may_see: Callable[[Connector, Container], bool] = lambda _connector, _container: True,
    ) -> Sequence[ConnectorReach]:
        """Says what each of `connectors` reaches, or reached a moment ago; one that fails does not hide the others.

        What `may_see` refuses shows up nowhere, errors included.
        """
        reached: list[ConnectorReach] = []
        for connector, answer in await outcomes(connectors, self._reach.reach):
            if isinstance(answer, BrokerError):
                reached.append(ConnectorReach(connector, (), error=answer))
                continue
            wanted: list[Container] = []
            async for some in slices(answer.containers):
                seen = [c for c in some if may_see(connector, c)]
                wanted += [c for c in seen if only is None or self._means(only, connector, c)]
            reached.append(ConnectorReach(connector, wanted, answer.errors))
        return reached

    def _means(self, wanted: ResourceId, connector: Connector, container: Container) -> bool:
        if wanted.endpoint is not None:
            profile = self._profiles.get(connector.azure.cloud)
            if profile is None or profile.blob_url(container.account) != wanted.endpoint:
                return False
        return wanted.container == container.name

    async def _verified(self, connector: Connector, credential: Credential) -> Proof:
        async def given(_connector: Connector) -> Credential:
            return credential

        return await verify(CloudClient(self._cloud, given, self._timeout), self._clock, connector)

    def _validated(self, new: NewConnector, created_by: str) -> tuple[Connector, CredentialValue]:
        azure = new.azure
        cloud = azure.cloud or self._default_cloud
        if cloud not in self._profiles:
            raise InvalidFieldError("cloud", "is not a cloud profile of this broker", ", ".join(sorted(self._profiles)))
        method = self._auth_methods.get(new.auth_method)
        if method is None:
            raise InvalidFieldError("auth_method", "is not known", ", ".join(sorted(self._auth_methods)))
        taken = [field.name for field in method.fields if field.secret]
        for name in new.secrets:
            if name not in taken:
                raise InvalidFieldError(name, f"is nothing that {method.name} takes", ", ".join(taken) or "no secret")
        azure, value = method.parse(azure, new.secrets)
        config = replace(
            azure,
            cloud=cloud,
            storage_account=azure.storage_account and check_account("storage_account", azure.storage_account),
            subscription_id=azure.subscription_id and check_uuid("subscription_id", azure.subscription_id),
            resource_group=azure.resource_group and check_resource_group("resource_group", azure.resource_group),
        )
        config, resource = self._resource(new.resource_id, config)
        connector = Connector(
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
        return connector, value

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
