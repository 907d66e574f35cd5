"""Azure Resource Manager: revoking the user delegation keys of a storage account, all of them at once.

Storage keeps keys for a while, so tokens that they signed may be accepted a little longer.
Sources: https://learn.microsoft.com/rest/api/storagerp/storage-accounts/revoke-user-delegation-keys and
https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas#revoke-a-user-delegation-sas
"""

import asyncio
from importlib import import_module
from typing import Any

from valetkey_broker.adapters.azure.account_keys import id_of_account
from valetkey_broker.adapters.azure.accounts import arm_options
from valetkey_broker.adapters.azure.errors import Asking, ask
from valetkey_broker.adapters.azure.transport import Network
from valetkey_broker.model import AzureConfig, CloudProfile


async def revoke_delegation_keys(
    config: AzureConfig, profile: CloudProfile, network: Network, credential: Any, asking: Asking
) -> None:
    """Gives the order for the account of `asking`. Giving it again does no harm but to keys of the meantime."""
    await asyncio.to_thread(import_module, "azure.mgmt.storage.aio")
    from azure.mgmt.storage.aio import StorageManagementClient  # noqa: PLC0415 (heavy: loaded in a thread just now)

    account_id = await id_of_account(asking.account, config, profile, network, credential, asking)
    # /subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/…
    _, _, subscription, _, group, *_ = account_id.split("/")
    client = StorageManagementClient(credential, subscription, **arm_options(profile, network))

    async def order() -> None:
        await client.storage_accounts.revoke_user_delegation_keys(group, asking.account)

    await ask(asking, order)
