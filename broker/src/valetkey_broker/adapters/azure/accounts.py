"""Azure Resource Manager: which storage accounts a credential sees."""

import asyncio
from collections.abc import AsyncIterable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from valetkey_broker.adapters.azure.account_pages import AccountPages
from valetkey_broker.adapters.azure.entra import arm_scope
from valetkey_broker.adapters.azure.errors import Asking, ask
from valetkey_broker.adapters.azure.transport import CLIENT_OPTIONS, BoundedPages, Network
from valetkey_broker.concurrency.gather_outcomes import outcomes
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import AzureConfig, CloudProfile, InvalidFieldError, check_account, check_uuid
from valetkey_broker.ports import AccountSearch

# Kinds without a blob service: https://learn.microsoft.com/azure/storage/common/storage-account-overview
_WITHOUT_BLOBS = frozenset({"FileStorage"})


async def find_accounts(
    config: AzureConfig, profile: CloudProfile, network: Network, credential: Any, asking: Asking
) -> AccountSearch:
    """Returns the storage accounts that ARM shows, narrowed as `config` says, and the errors of single subscriptions.

    Raises BrokerError where no subscription could be looked through.
    """
    # Heavy, and needed here only: in a thread, for an import would hold up the event loop.
    await asyncio.to_thread(import_module, "azure.mgmt.storage.aio")
    options = arm_options(profile, network)
    subscriptions = await subscriptions_of(config, credential, options, asking)

    async def in_subscription(subscription: str) -> dict[str, bool | None]:
        place = place_of(replace(config, subscription_id=subscription))
        # Where there are several, people have to hear which one it was.
        among = subscription if len(subscriptions) > 1 else ""
        there = replace(asking, place=place, subscription=among)
        return await _in_subscription(subscription, config.resource_group, credential, options, there)

    accounts: dict[str, bool | None] = {}
    errors: list[BrokerError] = []
    for _, found in await outcomes(subscriptions, in_subscription):
        if isinstance(found, BrokerError):
            errors.append(found)
        else:
            accounts |= found
    if errors and len(errors) == len(subscriptions):
        raise errors[0]
    # ARM leaves out what was never set: then nothing is known.
    hierarchical = {name: said for name, said in accounts.items() if said is not None}
    return AccountSearch(sorted(accounts), errors, hierarchical)


def arm_options(profile: CloudProfile, network: Network) -> dict[str, Any]:
    """Returns what every client of ARM is made with."""
    return {
        "base_url": profile.arm_endpoint,
        "credential_scopes": [arm_scope(profile)],
        "transport": network.transport(profile.arm_endpoint),
        **CLIENT_OPTIONS,
    }


def place_of(config: AzureConfig) -> str:
    """Returns the scope, as roles have it, of where accounts are looked for."""
    group = f"/resourceGroups/{config.resource_group}" if config.resource_group else ""
    return f"/subscriptions/{config.subscription_id or 'SUBSCRIPTION_ID'}{group}"


async def subscriptions_of(
    config: AzureConfig, credential: Any, options: dict[str, Any], asking: Asking
) -> Sequence[str]:
    """Returns the subscription that `config` names, or those that ARM shows. Raises BrokerError."""
    if config.subscription_id:
        return [config.subscription_id]
    await asyncio.to_thread(import_module, "azure.mgmt.resource.subscriptions.aio")
    return await _subscriptions(credential, options, asking)


async def _subscriptions(credential: Any, options: dict[str, Any], asking: Asking) -> list[str]:
    from azure.mgmt.resource.subscriptions.aio import SubscriptionClient  # noqa: PLC0415 (see find_accounts)

    async def ids() -> list[str]:
        client = SubscriptionClient(credential, **{**options, "transport": BoundedPages(options["transport"])})
        return [
            check_uuid("subscription_id", str(found.subscription_id)) async for found in client.subscriptions.list()
        ]

    return await ask(asking, ids)


def accounts_in(
    subscription: str, resource_group: str, credential: Any, options: dict[str, Any], pages: AccountPages
) -> AsyncIterable[Any]:
    """Lists the accounts of a subscription, or of a resource group in it, read by way of `pages`."""
    from azure.mgmt.storage.aio import StorageManagementClient  # noqa: PLC0415 (see find_accounts)

    operations = StorageManagementClient(credential, subscription, **{**options, "transport": pages}).storage_accounts
    listed: AsyncIterable[Any] = (
        operations.list_by_resource_group(resource_group) if resource_group else operations.list()
    )
    return listed


async def _in_subscription(
    subscription: str, resource_group: str, credential: Any, options: dict[str, Any], asking: Asking
) -> dict[str, bool | None]:
    """Returns the names of the accounts in a subscription, each with whether its namespace is hierarchical."""

    async def accounts() -> dict[str, bool | None]:
        pages = AccountPages(options["transport"])
        listed = accounts_in(subscription, resource_group, credential, options, pages)
        return {str(each.name): each.is_hns_enabled async for each in listed if each.kind not in _WITHOUT_BLOBS}

    return {name: said for name, said in (await ask(asking, accounts)).items() if _is_account_name(name)}


def _is_account_name(name: str) -> bool:
    # It goes into a host name, and what ARM says is input too.
    try:
        check_account("storage_account", name)
    except InvalidFieldError:
        return False
    return True
