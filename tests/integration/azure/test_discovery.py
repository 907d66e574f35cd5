"""Finding storage accounts and containers: the real SDKs on the control-plane stand-in and real Azurite."""

import json
import time
from collections.abc import Sequence
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
from support.cloud_containers import all_containers
from support.fault_proxy import lists_containers
from valetkey_broker.adapters.azure import AzureCloud, account_pages
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Connector, Container, Credential


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


CLOSED, FORBIDDEN, BUSY = (f"44444444-4444-4444-4444-{number:012}" for number in range(3))


async def test_a_subscription_that_refuses_stands_beside_the_others(azure: AzureStack) -> None:
    """Each names itself and its mend; the accounts of the others are found, and a wait that was named is passed on."""
    azure.control_plane.add_refusing_subscription(CLOSED, 403, "DisallowedOperation")
    azure.control_plane.add_refusing_subscription(FORBIDDEN, 403, "AuthorizationFailed")
    azure.control_plane.add_refusing_subscription(BUSY, 429, "TooManyRequests", retry_after=7)
    search = await azure.cloud.find_accounts(make_connector(), make_credential())
    assert list(search.accounts) == sorted([LOGS, ML])
    closed, forbidden, busy = search.errors
    assert (closed.reason, forbidden.reason) == (Reason.CLOUD_PERMISSION_MISSING,) * 2
    assert f"subscription {CLOSED}: DisallowedOperation" in closed.message
    assert "role" not in f"{closed.message} {closed.mend}"
    assert f'--scope "/subscriptions/{FORBIDDEN}"' in forbidden.mend
    assert (busy.reason, busy.retry_after) == (Reason.CLOUD_THROTTLED, 7)
    assert BUSY in busy.message


async def test_a_subscription_that_refuses_hides_no_settings_of_the_others(azure: AzureStack) -> None:
    """Settings are shown where they can be; where no subscription tells any, the refusal is."""
    azure.control_plane.set_properties(ML, allowSharedKeyAccess=False)
    azure.control_plane.add_refusing_subscription(CLOSED, 403, "DisallowedOperation")
    connector, credential = make_connector(), make_credential()
    settings = await azure.cloud.account_settings(connector, credential, [ML, "elsewhere"])
    assert list(settings) == [ML]
    with pytest.raises(BrokerError) as caught:
        await azure.cloud.account_settings(connector, credential, ["elsewhere"])
    assert caught.value.metadata["azure_code"] == "DisallowedOperation"


@pytest.mark.parametrize("narrowed", [False, True], ids=["subscriptions", "accounts"])
async def test_pages_of_arm_that_lead_in_a_circle_end(azure: AzureStack, narrowed: bool) -> None:
    """A next link to a page that was there before is an error that says so, after that one page."""
    connector = make_connector(subscription_id=SUBSCRIPTION if narrowed else "")
    loop = f"{azure.control_plane.url}/subscriptions?api-version=2022-12-01&$skiptoken=again"
    azure.control_plane.fail("arm", 200, body=json.dumps({"value": [], "nextLink": loop}))
    with pytest.raises(BrokerError, match="leads back to a page that was there before") as caught:
        await azure.cloud.find_accounts(connector, make_credential())
    assert caught.value.reason is Reason.CLOUD_UNAVAILABLE
    assert azure.control_plane.requests["arm"] == 2


async def test_hundreds_of_accounts_are_listed_a_few_at_a_time(azure: AzureStack) -> None:
    """200 accounts of 50 containers, through the SDKs: eight listings at once at most, and nothing is missing."""
    names = [f"c{number:02}" for number in range(50)]
    accounts = [f"account{number:03}" for number in range(200)]
    for account in accounts:
        azure.control_plane.add_account(account)
    containers = "".join(f"<Container><Name>{name}</Name></Container>" for name in names)
    page = f"<EnumerationResults><Containers>{containers}</Containers><NextMarker /></EnumerationResults>"
    azure.proxy.answer(lambda request: request.path.startswith("/account"), 200, page, "application/xml")
    cloud, busy, most = azure.cloud, 0, 0
    ask = cloud.list_containers

    async def counted(connector: Connector, credential: Credential, account: str) -> Sequence[Container]:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        try:
            return await ask(connector, credential, account)
        finally:
            busy -= 1

    cloud.list_containers = counted  # type: ignore[method-assign]

    async def given(_connector: Connector) -> Credential:
        return make_credential()

    cache = ReachCache(CloudClient(cloud, given, 60), time.time, 300)
    reach = await cache.reach(make_connector())
    await cache.close()
    assert not reach.errors
    found = {(each.account, each.name) for each in reach.containers if each.account in set(accounts)}
    assert found == {(account, name) for account in accounts for name in names}
    assert len(reach.containers) == 10_000 + 3
    assert 1 < most <= 8
