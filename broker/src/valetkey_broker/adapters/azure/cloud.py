"""The port `ports.Cloud` on Azure."""

import contextlib
import logging
from collections.abc import Mapping, Sequence

from valetkey_broker.adapters.azure import sas
from valetkey_broker.adapters.azure.accounts import find_accounts
from valetkey_broker.adapters.azure.entra_credential import Login
from valetkey_broker.adapters.azure.errors import Asking, Step
from valetkey_broker.adapters.azure.fan_out import each
from valetkey_broker.adapters.azure.storage import BlobStorage
from valetkey_broker.adapters.azure.transport import Network
from valetkey_broker.errors import Reason, cloud_undefined
from valetkey_broker.model import CloudProfile, Connector, Container, Credential, DelegationKey, SasRequest, SignedToken

# Two in use during a rotation, and one for a rotation that was given up.
_VERSIONS_KEPT = 3


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
        self._logins: dict[str, dict[int, Login]] = {}
        # azure-identity logs the text of a failed log-in as a warning, and that text is Entra's: it may echo what
        # was sent. What went wrong is in the errors raised here.
        for name in ("azure", "msal"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    async def log_in(self, connector: Connector, credential: Credential) -> None:
        """Gets a fresh token: nothing of earlier log-ins is used, and this one is kept if it works."""
        login = self._new_login(connector, credential)
        await login.prove()
        self._keep(connector, credential, login)

    async def find_containers(self, connector: Connector, credential: Credential) -> Sequence[Container]:
        """Lists containers, of up to 8 accounts at a time."""
        accounts = await self._accounts(connector, credential)

        async def look(account: str) -> Sequence[Container]:
            return await self._storage(connector, credential, account, Step.CONTAINERS).containers()

        return [container for found in await each(accounts, look) for container in found]

    async def delegation_key(
        self, connector: Connector, credential: Credential, account: str, *, starts: float, expires: float
    ) -> DelegationKey:
        """Gets a key; its times are those Azure answered with."""
        storage = self._storage(connector, credential, account, Step.DELEGATION_KEY)
        return await storage.delegation_key(starts, expires)

    def sign(self, request: SasRequest) -> SignedToken:
        """Signs; see `sas.sign`."""
        return sas.sign(request)

    async def forget(self, connector_uid: str) -> None:
        """Drops the log-ins of a connector; calls under way still end well."""
        self._logins.pop(connector_uid, None)

    async def close(self) -> None:
        """Drops all log-ins and closes all connections."""
        self._logins.clear()
        networks, self._networks = list(self._networks.values()), {}
        for network in networks:
            with contextlib.suppress(OSError):
                await network.close()

    async def _accounts(self, connector: Connector, credential: Credential) -> list[str]:
        if connector.azure.storage_account:
            return [connector.azure.storage_account]
        profile = self._profile(connector)
        asking = Asking(Step.ACCOUNTS, connector.name, connector.azure.client_id)
        if not profile.arm_endpoint:
            text = (
                f"Cloud {profile.name} has no arm_endpoint, so storage accounts cannot be found. "
                f"Name a storage account in connector {connector.name}."
            )
            raise asking.failed(Reason.INVALID_FIELD, text)
        login = self._login(connector, credential)
        return await find_accounts(connector.azure, profile, self._network(profile), login, asking)

    def _storage(self, connector: Connector, credential: Credential, account: str, step: Step) -> BlobStorage:
        profile = self._profile(connector)
        asking = Asking(step, connector.name, connector.azure.client_id, account)
        login = self._login(connector, credential)
        return BlobStorage(profile, self._network(profile), login, account, asking)

    def _login(self, connector: Connector, credential: Credential) -> Login:
        kept = self._logins.get(connector.uid, {}).get(credential.version)
        # A version may be tried before it is stored: the same number with another secret is another log-in.
        if kept is not None and kept.serves(connector, credential):
            return kept
        return self._keep(connector, credential, self._new_login(connector, credential))

    def _new_login(self, connector: Connector, credential: Credential) -> Login:
        profile = self._profile(connector)
        return Login(connector, credential, profile, self._network(profile))

    def _keep(self, connector: Connector, credential: Credential, login: Login) -> Login:
        versions = self._logins.setdefault(connector.uid, {})
        versions.pop(credential.version, None)
        versions[credential.version] = login
        while len(versions) > _VERSIONS_KEPT:
            del versions[next(iter(versions))]
        return login

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
