"""The two keys of storage accounts, through Azure Resource Manager.

Source: https://learn.microsoft.com/rest/api/storagerp/storage-accounts/list-keys and
https://learn.microsoft.com/rest/api/storagerp/storage-accounts/regenerate-key
"""

import asyncio
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from azure.core.pipeline.transport import AsyncHttpTransport

from valetkey_broker.adapters.azure.account_pages import AccountPages
from valetkey_broker.adapters.azure.accounts import accounts_in, arm_options, place_of, subscriptions_of
from valetkey_broker.adapters.azure.errors import Asking, ask
from valetkey_broker.adapters.azure.rest import Rest
from valetkey_broker.adapters.azure.transport import Network
from valetkey_broker.errors import BrokerError, account_not_seen
from valetkey_broker.model import AzureConfig, CloudProfile, Secret

KEY_NAMES = ("key1", "key2")
"""Those that storage checks requests and tokens with; kerb1 and kerb2 are for something else."""
_VERSION = "2023-05-01"
_PROVIDER = "/providers/Microsoft.Storage/storageAccounts/"
_ID = re.compile(
    r"/subscriptions/[0-9a-f-]{36}/resourceGroups/[-\w.()]{1,90}/providers/Microsoft\.Storage/storageAccounts/"
    r"[a-z0-9]{3,24}",
    re.IGNORECASE | re.ASCII,
)


async def id_of_account(
    account: str, config: AzureConfig, profile: CloudProfile, network: Network, credential: Any, asking: Asking
) -> str:
    """Returns the resource id of an account, looked up where `config` does not say its resource group.

    Raises BrokerError: RESOURCE_NOT_FOUND where the credential sees no such account.
    """
    if config.subscription_id and config.resource_group:
        return f"{place_of(config)}{_PROVIDER}{account}"
    await asyncio.to_thread(import_module, "azure.mgmt.storage.aio")
    options = arm_options(profile, network)
    errors: list[BrokerError] = []
    for subscription in await subscriptions_of(config, credential, options, asking):
        pages = _IdPages(options["transport"], account)

        async def look(subscription: str = subscription, pages: _IdPages = pages) -> None:
            async for _ in accounts_in(subscription, config.resource_group, credential, options, pages):
                pass  # The transport has read it.

        try:
            await ask(asking, look)
        except BrokerError as error:
            errors.append(error)  # It may be in another.
        if pages.id:
            return pages.id
    raise errors[0] if errors else account_not_seen(asking.connector, asking.step.value, account)


class _IdPages(AccountPages):
    """Reads the id of one account out of a list of accounts."""

    def __init__(self, inner: AsyncHttpTransport[Any, Any], account: str) -> None:
        super().__init__(inner)
        self._account = account
        self.id = ""

    def read(self, account: Mapping[str, Any]) -> None:
        """Takes the id of the account that is wanted; it goes into a URL, and what ARM says is input too."""
        name, said = account.get("name"), account.get("id")
        if name == self._account and isinstance(said, str) and _ID.fullmatch(said):
            self.id = said


async def keys_of(arm: Rest, account_id: str) -> Mapping[str, Secret]:
    """Returns the keys of an account by name. Raises BrokerError."""
    return _keys(await arm.post(f"{account_id}/listKeys?api-version={_VERSION}"))


async def regenerate(arm: Rest, account_id: str, name: str) -> Mapping[str, Secret]:
    """Replaces one key and returns both. Raises BrokerError."""
    return _keys(await arm.post(f"{account_id}/regenerateKey?api-version={_VERSION}", {"keyName": name}))


def _keys(said: Mapping[str, Any]) -> Mapping[str, Secret]:
    listed = said.get("keys")
    return {
        each["keyName"]: Secret(each["value"])
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict) and each.get("keyName") in KEY_NAMES and isinstance(each.get("value"), str)
    }
