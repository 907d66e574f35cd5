"""The port `ports.credential_maker.CredentialMaker` on Azure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from valetkey_broker.adapters.azure import account_keys, client_secrets
from valetkey_broker.adapters.azure.errors import Asking, Step
from valetkey_broker.adapters.azure.rest import Rest
from valetkey_broker.adapters.azure.transport import Network
from valetkey_broker.errors import answer_without_credential, graph_not_asked, resource_manager_not_asked
from valetkey_broker.model import CloudProfile, Connector, Credential, Secret
from valetkey_broker.ports.credential_maker import ApplicationPassword, NewPassword

_ONLY_KEYS = "an account's key opens its storage alone; name a connector with a service principal"


class Ways(Protocol):
    """Knows the way into Azure of each connector."""

    def way(
        self, connector: Connector, credential: Credential, step: Step, account: str = ""
    ) -> tuple[CloudProfile, Network, Any | None, Asking]:
        """Returns the connector's cloud, the way there, what gets tokens of Entra (or None), and who asks."""
        ...


class AzureCredentialMaker:
    """Makes credentials by way of a cloud's connections and log-ins."""

    def __init__(self, cloud: Ways) -> None:
        self._cloud = cloud

    async def passwords(self, by: Connector, credential: Credential, client_id: str) -> Sequence[ApplicationPassword]:
        """Returns the secrets of an application; see the port."""
        graph, asking = self._graph(by, credential, Step.APPLICATION)
        listed = await client_secrets.passwords_of(graph, client_id)
        if listed is None:  # A secret that is not told of is not gone because of that.
            raise answer_without_credential(asking.connector, asking.step.value)
        return listed

    async def add_password(
        self, by: Connector, credential: Credential, client_id: str, display_name: str, ends: datetime
    ) -> NewPassword:
        """Makes a secret; see the port."""
        graph, asking = self._graph(by, credential, Step.ADD_TO_APPLICATION)
        made = await client_secrets.add_password(graph, client_id, display_name, ends)
        if made is None:
            raise answer_without_credential(asking.connector, asking.step.value)
        return made

    async def remove_password(self, by: Connector, credential: Credential, client_id: str, key_id: str) -> None:
        """Removes a secret; see the port."""
        graph, _ = self._graph(by, credential, Step.TAKE_FROM_APPLICATION)
        await client_secrets.remove_password(graph, client_id, key_id)

    async def account_keys(self, by: Connector, credential: Credential, account: str) -> Mapping[str, Secret]:
        """Returns the keys of an account; see the port."""
        arm, account_id, asking = await self._account(by, credential, account, Step.ACCOUNT_KEYS)
        return _both(await account_keys.keys_of(arm, account_id), asking)

    async def regenerate_key(
        self, by: Connector, credential: Credential, account: str, name: str
    ) -> Mapping[str, Secret]:
        """Replaces a key; see the port."""
        arm, account_id, asking = await self._account(by, credential, account, Step.REGENERATE_KEY)
        return _both(await account_keys.regenerate(arm, account_id, name), asking)

    def _graph(self, by: Connector, credential: Credential, step: Step) -> tuple[Rest, Asking]:
        profile, network, entra, asking = self._cloud.way(by, credential, step)
        if entra is None:
            raise graph_not_asked(by.name, step.value, _ONLY_KEYS)
        if not profile.graph_endpoint:
            raise graph_not_asked(by.name, step.value, f"cloud {profile.name} has no graph_endpoint")
        return Rest(profile.graph_endpoint, network, entra, asking), asking

    async def _account(
        self, by: Connector, credential: Credential, account: str, step: Step
    ) -> tuple[Rest, str, Asking]:
        profile, network, entra, asking = self._cloud.way(by, credential, step, account)
        if entra is None:
            raise resource_manager_not_asked(by.name, step.value, _ONLY_KEYS)
        if not profile.arm_endpoint:
            raise resource_manager_not_asked(by.name, step.value, f"cloud {profile.name} has no arm_endpoint")
        looking = replace(asking, step=Step.ACCOUNTS, account="")
        account_id = await account_keys.id_of_account(account, by.azure, profile, network, entra, looking)
        return Rest(profile.arm_endpoint, network, entra, asking), account_id, asking


def _both(keys: Mapping[str, Secret], asking: Asking) -> Mapping[str, Secret]:
    if set(keys) != set(account_keys.KEY_NAMES):
        raise answer_without_credential(asking.connector, asking.step.value)
    return keys
