"""Finding storage accounts and containers: the real SDKs on the control-plane stand-in and real Azurite."""

import time
from dataclasses import replace

import pytest

from support.azure_stack import (
    LOGS,
    ML,
    SUBSCRIPTION,
    AzureStack,
    make_connector,
    make_credential,
)
from support.fault_proxy import lists_containers
from support.listing import all_containers
from valetkey_broker.adapters.azure import AzureCloud, account_pages
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Connector, Credential


async def _accounts(azure: AzureStack, connector: Connector) -> list[str]:
    found = await all_containers(azure.cloud, connector, make_credential())
    return sorted({each.account for each in found})


async def test_discovery_is_narrowed_by_subscription_and_group(azure: AzureStack) -> None:
    """A connector bound to a resource group reaches only the accounts in it."""
    assert await _accounts(azure, make_connector(subscription_id=SUBSCRIPTION)) == [LOGS, ML]
    assert await _accounts(azure, make_connector(resource_group="ValetKey")) == [LOGS, ML]
    with pytest.raises(BrokerError) as caught:
        await _accounts(azure, make_connector(resource_group="elsewhere"))
    assert caught.value.reason is Reason.RESOURCE_NOT_FOUND
    assert caught.value.metadata["azure_code"] == "ResourceGroupNotFound"


async def test_an_unknown_subscription_is_named(azure: AzureStack) -> None:
    """A mistyped subscription is told by Azure's own code, with the step."""
    with pytest.raises(BrokerError) as caught:
        await _accounts(azure, make_connector(subscription_id="44444444-4444-4444-4444-444444444444"))
    assert caught.value.metadata["azure_code"] == "SubscriptionNotFound"
    assert caught.value.metadata["step"] == "list storage accounts"


async def test_long_lists_are_read_to_their_end(azure: AzureStack) -> None:
    """ARM lists in pages; the last account counts as much as the first."""
    azure.control_plane.page_size = 1
    assert await _accounts(azure, make_connector()) == [LOGS, ML]
    assert azure.control_plane.requests["arm"] == 3


async def test_accounts_without_blobs_are_passed_over(azure: AzureStack) -> None:
    """A file share account has no blob service, so it cannot spoil the listing."""
    azure.control_plane.add_account("onlyfiles", kind="FileStorage")
    assert await _accounts(azure, make_connector()) == [LOGS, ML]


async def test_refused_accounts_stand_beside_the_others(azure: AzureStack) -> None:
    """One account without the role hides nothing of the others, and people are told the missing role."""
    azure.proxy.refuse(lists_containers(LOGS), 403, "AuthorizationPermissionMismatch")
    connector, credential = make_connector(), make_credential()

    async def given(_connector: Connector) -> Credential:
        return credential

    reach = await ReachCache(CloudClient(azure.cloud, given, 20), time.time, 300).reach(connector)
    assert {container.account for container in reach.containers} == {ML}
    ((account, error),) = [(each.account, each.error) for each in reach.errors]
    assert (account, error.reason) == (LOGS, Reason.CLOUD_PERMISSION_MISSING)
    assert "Storage Blob Data Reader" in error.message
    assert error.metadata["step"] == "list containers"


async def test_an_account_that_does_not_exist(azure: AzureStack) -> None:
    """An account name that leads nowhere is a thing not found, with the account in the message."""
    now = time.time()
    with pytest.raises(BrokerError) as caught:
        await azure.cloud.signing_key(
            make_connector(), make_credential(), "nosuchaccount", starts=now, expires=now + 3600
        )
    assert caught.value.metadata["account"] == "nosuchaccount"
    assert caught.value.reason is Reason.RESOURCE_NOT_FOUND


async def test_one_login_serves_many_calls(azure: AzureStack) -> None:
    """Entra is asked once per audience, not once per call; a fresh log-in asks again, and serves from then on."""
    connector, credential = make_connector(), make_credential()
    for _ in range(3):
        await all_containers(azure.cloud, connector, credential)
    assert azure.control_plane.requests["token"] == 2
    await azure.cloud.log_in(connector, credential)
    assert azure.control_plane.requests["token"] == 3
    await all_containers(azure.cloud, make_connector(storage_account=ML), credential)
    assert azure.control_plane.requests["token"] == 4


async def test_each_credential_version_logs_in_by_itself(azure: AzureStack) -> None:
    """During a rotation two versions are in use; a token of one is not taken for the other."""
    connector = make_connector(storage_account=ML)
    for version in (1, 2, 1, 2):
        await all_containers(azure.cloud, connector, make_credential(version=version))
    assert azure.control_plane.requests["token"] == 2
    for version in range(3, 8):
        await all_containers(azure.cloud, connector, make_credential(version=version))
    assert len(azure.cloud._accesses[connector.uid]) == 3


async def test_a_cloud_without_arm_needs_an_account(azure: AzureStack) -> None:
    """Where there is no control plane, people are told to name the account."""
    cloud = AzureCloud({"dev": replace(azure.profile, arm_endpoint="")})
    try:
        with pytest.raises(BrokerError, match="Name a storage account") as caught:
            await all_containers(cloud, make_connector(), make_credential())
        found = await all_containers(cloud, make_connector(storage_account=LOGS), make_credential())
    finally:
        await cloud.close()
    assert caught.value.reason is Reason.INVALID_FIELD
    assert [each.name for each in found] == ["demo-logs"]


async def test_a_cloud_that_is_no_longer_defined(azure: AzureStack) -> None:
    """A connector whose cloud left the settings says so instead of reaching anything."""
    with pytest.raises(BrokerError, match="names the cloud gone-cloud") as caught:
        await azure.cloud.log_in(make_connector(cloud="gone-cloud"), make_credential())
    assert caught.value.reason is Reason.INVALID_FIELD
    assert caught.value.metadata["field"] == "azure.cloud"


async def test_hundreds_of_accounts_are_found_by_name_and_kind(
    azure: AzureStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 accounts are found over all pages, and the SDK is handed nothing of them but what is looked at."""
    for number in range(200):
        azure.control_plane.add_account(f"account{number:03}")
    azure.control_plane.page_size = 60
    handed: set[str] = set()
    body = account_pages._Short.body

    def noted(self: account_pages._Short) -> bytes:
        handed.update(*(each.keys() for each in self.json()["value"]))
        return body(self)

    monkeypatch.setattr(account_pages._Short, "body", noted)
    search = await azure.cloud.find_accounts(make_connector(), make_credential())
    assert list(search.accounts) == sorted([LOGS, ML, *(f"account{number:03}" for number in range(200))])
    assert handed == {"name", "kind", "properties"}
