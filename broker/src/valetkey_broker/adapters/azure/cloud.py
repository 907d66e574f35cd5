"""The port `ports.Cloud` on Azure."""

import contextlib
import logging
import math
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from azure.core.credentials import AzureSasCredential

from valetkey_broker.adapters.azure.account_settings import account_settings
from valetkey_broker.adapters.azure.accounts import find_accounts, place_of
from valetkey_broker.adapters.azure.auth_method import Access
from valetkey_broker.adapters.azure.auth_methods import AUTH_METHODS
from valetkey_broker.adapters.azure.blob_storage import BlobStorage
from valetkey_broker.adapters.azure.credential_maker import AzureCredentialMaker
from valetkey_broker.adapters.azure.errors import Asking, Step
from valetkey_broker.adapters.azure.key_revocation import revoke_delegation_keys
from valetkey_broker.adapters.azure.resource_type import StorageService
from valetkey_broker.adapters.azure.resource_types import AZURE_RESOURCE_TYPES, AzureResourceType
from valetkey_broker.adapters.azure.transport import Network
from valetkey_broker.concurrency.cooperative_slices import slices
from valetkey_broker.errors import (
    CLOUD_REFUSALS,
    BrokerError,
    cloud_undefined,
    discovery_unsupported,
    namespace_unknown,
    resource_manager_not_asked,
)
from valetkey_broker.model import (
    CloudProfile,
    Connector,
    Container,
    Credential,
    Permission,
    PermissionSet,
    SasRequest,
    Scope,
    SignedToken,
    SigningKey,
    TokenUse,
)
from valetkey_broker.model.account_settings import AccountSettings
from valetkey_broker.ports import AccountSearch

# Two in use during a rotation, and one for a rotation that was given up.
_VERSIONS_KEPT = 3
# A token that proves a key need not live long, nor may it do much.
_PROBE = PermissionSet([Permission.READ, Permission.LIST])
_PROBE_SECONDS = 60


class AzureCloud:
    """Azure through any number of connectors, in the event loop that first calls it.

    Per connector uid and credential version one log-in is kept; connections are shared per cloud profile. Timeouts
    are in seconds.
    """

    def __init__(
        self,
        profiles: Mapping[str, CloudProfile],
        *,
        connect_seconds: float = 5.0,
        read_seconds: float = 10.0,
    ) -> None:
        self._profiles = dict(profiles)
        self._timeouts = (connect_seconds, read_seconds)
        self._networks: dict[str, Network] = {}
        self._accesses: dict[str, dict[int, Access]] = {}
        self.maker = AzureCredentialMaker(self)
        # azure-identity logs the text of a failed log-in as a warning, and that text is Entra's: it may echo what
        # was sent. What went wrong is in the errors raised here.
        for name in ("azure", "msal"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    async def log_in(self, connector: Connector, credential: Credential) -> None:
        """Proves the credential: nothing of earlier log-ins is used, and this one is kept if it works."""
        access = self._new_access(connector, credential)
        await access.prove()
        self._keep(connector, credential, access)

    async def find_accounts(self, connector: Connector, credential: Credential) -> AccountSearch:
        """Returns the connector's own account, or those that Azure Resource Manager shows."""
        if connector.azure.storage_account:
            return AccountSearch([connector.azure.storage_account])
        profile, asking = self._profile(connector), self._asking(Step.ACCOUNTS, connector)
        arm = self._arm_credential(connector, credential, Step.ACCOUNTS)
        return await find_accounts(connector.azure, profile, self._network(profile), arm, asking)

    async def list_containers(self, connector: Connector, credential: Credential, account: str) -> Sequence[Container]:
        """Lists the containers of one account, by name."""
        of_type = self._type(connector)
        storage = self._service(connector, credential, account, Step.CONTAINERS)
        profile = self._profile(connector)
        found: list[Container] = []
        async for some in slices(await storage.names(), in_background=True):
            found += [Container.of(profile, account, name, of_type.name) for name in some]
        return found

    async def check_container(self, connector: Connector, credential: Credential, account: str, name: str) -> Container:
        """Returns the container if it is there, asking for nothing but that one."""
        of_type = self._type(connector)
        await self._service(connector, credential, account, Step.CONTAINER, name).check(name)
        return Container.of(self._profile(connector), account, name, of_type.name)

    async def signing_key(
        self, connector: Connector, credential: Credential, account: str, *, starts: float, expires: float
    ) -> SigningKey:
        """Returns a key; its times are those that hold, which may differ from what was asked."""
        storage = self._storage(connector, credential, account, Step.DELEGATION_KEY)
        return await self._access(connector, credential).signing_key(storage, starts, expires)

    async def accepts(self, connector: Connector, container: Container, key: SigningKey) -> bool:
        """Lists with a token that `key` signs. What the token may do is not in question, only whether it is one."""
        token, asking = self._proving(connector, container, key, Step.PROBE)
        return await self._opened(connector, container.resource_type, token, asking).takes_token(container.name)

    async def hierarchical(
        self, connector: Connector, credential: Credential, container: Container, key: SigningKey
    ) -> bool:
        """Asks with the connector's own credential, and where that is not taken, as Entra's may not be, with a token.

        Source: https://learn.microsoft.com/rest/api/storageservices/get-account-information
        """
        said = None
        try:
            said = await self._storage(connector, credential, container.account, Step.ACCOUNT).hierarchical()
        except BrokerError as error:
            if error.reason not in CLOUD_REFUSALS:
                raise
        if said is None:
            token, asking = self._proving(connector, container, key, Step.ACCOUNT)
            said = await self._blobs(connector, token, asking).hierarchical(container.name)
        if said is None:
            raise namespace_unknown(connector.name, Step.ACCOUNT.value, container.account)
        return said

    def sign(self, request: SasRequest, lease_ids: Sequence[str]) -> Sequence[SignedToken]:
        """Signs as the resource type has it; see `sas.sign`."""
        return AZURE_RESOURCE_TYPES[request.scope.resource_type].sign(request, lease_ids)

    def _proving(
        self, connector: Connector, container: Container, key: SigningKey, step: Step
    ) -> tuple[AzureSasCredential, Asking]:
        """Returns a token for `container`, as Azure's clients take one, and what is asked with it."""
        now = int(time.time())
        probe = SasRequest(
            profile=self._profile(connector),
            scope=Scope.of_container(container),
            permissions=_PROBE,
            starts=max(now - _PROBE_SECONDS, math.ceil(key.starts)),
            expires=int(min(now + _PROBE_SECONDS, key.expires)),
            source_ip="",
            key=key,
        )
        (token,) = self.sign(probe, [str(uuid.uuid4())])
        asking = self._asking(step, connector, container.account, container.name)
        return AzureSasCredential(token.sas_token), asking

    async def use_token(
        self, connector: Connector, container: Container, token: SignedToken, use: TokenUse, blob: str
    ) -> None:
        """Does one thing with a token; see ports.Cloud."""
        asking = self._asking(Step[use.name], connector, container.account, container.name)
        credential = AzureSasCredential(token.sas_token)
        service = self._opened(connector, container.resource_type, credential, asking)
        await service.use_token(container.name, use, blob)

    async def account_settings(
        self, connector: Connector, credential: Credential, accounts: Collection[str]
    ) -> Mapping[str, AccountSettings]:
        """Returns the settings that Azure Resource Manager shows."""
        profile, asking = self._profile(connector), self._asking(Step.SETTINGS, connector)
        arm = self._arm_credential(connector, credential, Step.SETTINGS)
        return await account_settings(connector.azure, profile, self._network(profile), arm, asking, accounts)

    async def revoke_delegation_keys(self, connector: Connector, credential: Credential, account: str) -> None:
        """Has Azure Resource Manager revoke the user delegation keys of `account`."""
        profile, asking = self._profile(connector), self._asking(Step.REVOKE_KEYS, connector, account)
        arm = self._arm_credential(connector, credential, Step.REVOKE_KEYS)
        await revoke_delegation_keys(connector.azure, profile, self._network(profile), arm, asking)

    def clock_skew(self, connector: Connector) -> float | None:
        """Returns the skew by the last answer of the connector's cloud."""
        return self._network(self._profile(connector)).skew.seconds

    async def forget(self, connector_uid: str) -> None:
        """Drops the log-ins of a connector; calls under way still end well."""
        self._accesses.pop(connector_uid, None)

    async def close(self) -> None:
        """Drops all log-ins and closes all connections."""
        self._accesses.clear()
        networks, self._networks = list(self._networks.values()), {}
        for network in networks:
            with contextlib.suppress(OSError):
                await network.close()

    def _storage(self, connector: Connector, credential: Credential, account: str, step: Step) -> BlobStorage:
        """Returns the blob service, of which what is the account's own is asked, whatever the connector serves."""
        asking = self._asking(step, connector, account)
        return self._blobs(connector, self._access(connector, credential).storage_credential, asking)

    def _blobs(self, connector: Connector, credential: Any, asking: Asking) -> BlobStorage:
        profile = self._profile(connector)
        return BlobStorage(profile, self._network(profile), credential, asking.account, asking)

    def _service(
        self, connector: Connector, credential: Credential, account: str, step: Step, name: str = ""
    ) -> StorageService:
        """Returns the service that has what the connector serves."""
        asking = self._asking(step, connector, account, name)
        opened_by = self._access(connector, credential).storage_credential
        return self._opened(connector, self._type(connector).name, opened_by, asking)

    def _opened(self, connector: Connector, resource_type: str, credential: Any, asking: Asking) -> StorageService:
        profile = self._profile(connector)
        service = AZURE_RESOURCE_TYPES[resource_type].service
        return service(profile, self._network(profile), credential, asking.account, asking)

    def _type(self, connector: Connector) -> AzureResourceType:
        if connector.resource_type is None:
            raise AssertionError("a connector of several resource types is asked type by type")
        return AZURE_RESOURCE_TYPES[connector.resource_type]

    def _arm_credential(self, connector: Connector, credential: Credential, step: Step) -> Any:
        profile = self._profile(connector)
        arm = self._access(connector, credential).arm_credential if profile.arm_endpoint else None
        if arm is None:
            if step is not Step.ACCOUNTS:
                lacking = f"cloud {profile.name} has no arm_endpoint"
                why = "an account's key opens its storage alone" if profile.arm_endpoint else lacking
                raise resource_manager_not_asked(connector.name, step.value, why)
            why = "cannot be asked with this auth method" if profile.arm_endpoint else "has no arm_endpoint"
            raise discovery_unsupported(connector.name, step.value, profile.name, why)
        return arm

    def way(
        self, connector: Connector, credential: Credential, step: Step, account: str = ""
    ) -> tuple[CloudProfile, Network, Any | None, Asking]:
        """Returns the connector's cloud, the way there, what gets tokens of Entra (or None), and who asks."""
        profile = self._profile(connector)
        entra = self._access(connector, credential).arm_credential
        return profile, self._network(profile), entra, self._asking(step, connector, account)

    def _asking(self, step: Step, connector: Connector, account: str = "", container: str = "") -> Asking:
        identity = AUTH_METHODS[connector.auth_method].identity(connector)
        return Asking(
            step,
            connector.name,
            identity,
            account,
            container,
            self._profile(connector).emulator,
            assignee=connector.azure.client_id,
            place=place_of(connector.azure),
        )

    def _access(self, connector: Connector, credential: Credential) -> Access:
        kept = self._accesses.get(connector.uid, {}).get(credential.version)
        # A version may be tried before it is stored: the same number with another secret is another log-in.
        if kept is not None and kept.serves(connector, credential):
            return kept
        return self._keep(connector, credential, self._new_access(connector, credential))

    def _new_access(self, connector: Connector, credential: Credential) -> Access:
        profile = self._profile(connector)
        return AUTH_METHODS[connector.auth_method].access(connector, credential, profile, self._network(profile))

    def _keep(self, connector: Connector, credential: Credential, access: Access) -> Access:
        versions = self._accesses.setdefault(connector.uid, {})
        versions.pop(credential.version, None)
        versions[credential.version] = access
        while len(versions) > _VERSIONS_KEPT:
            del versions[next(iter(versions))]
        return access

    def _profile(self, connector: Connector) -> CloudProfile:
        profile = self._profiles.get(connector.azure.cloud)
        if profile is None:
            raise cloud_undefined(connector.name, connector.azure.cloud, ", ".join(sorted(self._profiles)))
        return profile

    def _network(self, profile: CloudProfile) -> Network:
        network = self._networks.get(profile.name)
        if network is None:
            network = self._networks[profile.name] = Network(profile, *self._timeouts)
        return network
