"""Azure Resource Manager: those settings of storage accounts that decide whether tokens work.

Source: https://learn.microsoft.com/rest/api/storagerp/storage-accounts/get-properties
"""

import asyncio
import re
from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any

from azure.core.pipeline.transport import AsyncHttpTransport

from valetkey_broker.adapters.azure.account_pages import AccountPages
from valetkey_broker.adapters.azure.accounts import accounts_in, arm_options, subscriptions_of
from valetkey_broker.adapters.azure.errors import Asking, ask
from valetkey_broker.adapters.azure.transport import Network
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import AzureConfig, CloudProfile
from valetkey_broker.model.account_settings import AccountSettings, PolicyAction

_PERIOD = re.compile(r"(?:([0-9]{1,5})\.)?([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})")


async def account_settings(
    config: AzureConfig,
    profile: CloudProfile,
    network: Network,
    credential: Any,
    asking: Asking,
    accounts: Collection[str],
) -> Mapping[str, AccountSettings]:
    """Returns the settings of those of `accounts` that ARM shows.

    Raises BrokerError of a subscription that could not be looked through, where nothing was found.
    """
    await asyncio.to_thread(import_module, "azure.mgmt.storage.aio")
    options = arm_options(profile, network)
    found: dict[str, AccountSettings] = {}
    errors: list[BrokerError] = []
    for subscription in await subscriptions_of(config, credential, options, asking):

        async def read(subscription: str = subscription) -> Mapping[str, AccountSettings]:
            pages = _SettingsPages(options["transport"], accounts)
            async for _ in accounts_in(subscription, config.resource_group, credential, options, pages):
                pass  # The transport has read it.
            return pages.found

        try:
            found.update(await ask(asking, read))
        except BrokerError as error:
            errors.append(error)  # The accounts may be in another.
        if len(found) == len(accounts):
            break
    if errors and not found:
        raise errors[0]
    return found


class _SettingsPages(AccountPages):
    """Reads the settings out of a list of accounts before the SDK gets to see what is left of it."""

    def __init__(self, inner: AsyncHttpTransport[Any, Any], accounts: Collection[str]) -> None:
        super().__init__(inner)
        self._accounts = accounts
        self.found: dict[str, AccountSettings] = {}

    def read(self, account: Mapping[str, Any]) -> None:
        """Takes the settings of an account that is wanted."""
        name = account.get("name")
        if name in self._accounts:
            self.found[str(name)] = settings_of(account)


def settings_of(account: Mapping[str, Any]) -> AccountSettings:
    """Returns the settings in ARM's description of an account; what is not there, or not as it should be, is None."""
    properties = _mapping(account.get("properties"))
    policy, networks = _mapping(properties.get("sasPolicy")), _mapping(properties.get("networkAcls"))
    public = properties.get("publicNetworkAccess")
    bound = _action(policy.get("requireUserBoundUserDelegationSasAction"), PolicyAction.LOG)
    return AccountSettings(
        hierarchical_namespace=_flag(properties.get("isHnsEnabled")),
        shared_key_access=_flag(properties.get("allowSharedKeyAccess")),
        longest_sas=_seconds(policy.get("sasExpirationPeriod")),
        longest_sas_action=_action(policy.get("expirationAction"), PolicyAction.LOG),
        user_bound=bound if policy.get("requireUserBoundUserDelegationSas") is True else PolicyAction.NONE,
        public_network=None if not isinstance(public, str) else public != "Disabled",
        only_named_networks=networks.get("defaultAction") == "Deny" if networks else None,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _action(value: Any, default: PolicyAction) -> PolicyAction:
    return next((action for action in PolicyAction if action.value == value), default)


def _seconds(value: Any) -> int | None:
    """Returns the seconds of a period as ARM writes it: DD.HH:MM:SS."""
    match = _PERIOD.fullmatch(value) if isinstance(value, str) else None
    if not match:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
