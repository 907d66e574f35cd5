"""Storage and ARM in trouble, or refusing: Azurite does the work, the proxy before it says Azure's errors."""

import time
from dataclasses import replace

import pytest

from support.azure_stack import CLIENT, ML, AzureStack, impatient, make_connector, make_credential
from support.cloud_containers import all_containers
from support.fault_proxy import asks_for_key, lists_containers
from support.stopwatch import ends_within
from valetkey_broker.adapters.azure import AzureCloud
from valetkey_broker.errors import BrokerError, Reason
from valetkey_devstack.control_plane import Step


async def _no_key(azure: AzureStack) -> BrokerError:
    now = time.time()
    with pytest.raises(BrokerError) as caught:
        await azure.cloud.signing_key(make_connector(), make_credential(), ML, starts=now, expires=now + 3600)
    return caught.value


async def _no_list(azure: AzureStack, account: str = ML) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        await all_containers(azure.cloud, make_connector(storage_account=account), make_credential())
    return caught.value


async def test_the_delegator_role_is_missing(azure: AzureStack) -> None:
    """People are told which role to assign, where, and to whom."""
    azure.proxy.refuse(asks_for_key(ML), 403, "AuthorizationPermissionMismatch")
    error = await _no_key(azure)
    assert error.reason is Reason.CLOUD_PERMISSION_MISSING
    assert 'AuthorizationPermissionMismatch: assign the role "Storage Blob Delegator" at the account' in error.message
    assert CLIENT in error.message
    assert error.metadata == {
        "step": "get a user delegation key",
        "azure_code": "AuthorizationPermissionMismatch",
        "account": ML,
        "connector": "azure-blob-demo",
    }


async def test_network_rules_are_not_taken_for_roles(azure: AzureStack) -> None:
    """A firewall needs another remedy than a missing role."""
    azure.proxy.refuse(lists_containers(ML), 403, "AuthorizationFailure")
    error = await _no_list(azure)
    assert error.reason is Reason.CLOUD_PERMISSION_MISSING
    assert "network rules" in error.message
    assert "role" not in error.message


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "AccountIsDisabled", Reason.CLOUD_PERMISSION_MISSING),
        (401, "InvalidAuthenticationInfo", Reason.CLOUD_CREDENTIAL_REJECTED),
        (403, "AuthenticationFailed", Reason.CLOUD_CREDENTIAL_REJECTED),
        (404, "ResourceNotFound", Reason.RESOURCE_NOT_FOUND),
        (409, "FeatureNotSupported", Reason.CLOUD_REQUEST_REFUSED),
        (500, "InternalError", Reason.CLOUD_UNAVAILABLE),
        (503, "ServerBusy", Reason.CLOUD_THROTTLED),
        (429, "TooManyRequests", Reason.CLOUD_THROTTLED),
    ],
)
async def test_each_refusal_has_its_reason(azure: AzureStack, status: int, code: str, reason: Reason) -> None:
    """Azure's code reaches people and programs, under one reason each, without any retry."""
    azure.proxy.refuse(asks_for_key(ML), status, code)
    error = await _no_key(azure)
    assert (error.reason, error.metadata["azure_code"]) == (reason, code)
    assert azure.proxy.seen["POST userdelegationkey"] == 1


@pytest.mark.parametrize(
    ("header", "value", "seconds"),
    [("Retry-After", "12", 12.0), ("x-ms-retry-after-ms", "1500", 1.5), ("Retry-After", "99999999", 3600.0)],
)
async def test_the_wait_azure_asks_for(azure: AzureStack, header: str, value: str, seconds: float) -> None:
    """The wait goes to the caller at once, in seconds and within an hour."""
    azure.proxy.refuse(asks_for_key(ML), 503, "ServerBusy", headers={header: value})
    with ends_within():
        error = await _no_key(azure)
    assert (error.reason, error.retry_after) == (Reason.CLOUD_THROTTLED, seconds)


@pytest.mark.parametrize(
    "body",
    [
        "<html>gateway</html>",
        "<UserDelegationKey><SignedOid>a</SignedOid></UserDelegationKey>",
        "<UserDelegationKey>",
        "",
    ],
)
async def test_rubbish_for_a_key(azure: AzureStack, body: str) -> None:
    """A key that is not whole is no key, and none is made up."""
    azure.proxy.answer(asks_for_key(ML), 200, body, "application/xml")
    assert (await _no_key(azure)).reason is Reason.CLOUD_UNAVAILABLE


@pytest.mark.parametrize("status", [200, 404, 503])
@pytest.mark.parametrize("content_type", ["application/xml", "application/json"])
@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", "no gzip"), ("deflate", "no deflate"), ("identity", "[" * 100_000)]
)
async def test_rubbish_that_libraries_stumble_over(
    azure: AzureStack, status: int, content_type: str, encoding: str, body: str
) -> None:
    """Whatever a gateway says in Azure's place is an error of the cloud's, for a key as for a listing; none of ours."""
    headers = {"Content-Encoding": encoding}
    for asked in (asks_for_key(ML), lists_containers(ML)):
        azure.proxy.answer(asked, status, body, content_type, headers=headers)
    for error in (await _no_key(azure), await _no_list(azure)):
        assert error.reason in (Reason.CLOUD_UNAVAILABLE, Reason.RESOURCE_NOT_FOUND)


async def test_a_key_with_a_newline_in_a_field_is_refused(azure: AzureStack) -> None:
    """What storage answers is signed too: a field that could shift the others never becomes a key."""
    fields = {
        "SignedOid": "11111111-1111-1111-1111-111111111111\nx",
        "SignedTid": "11111111-1111-1111-1111-111111111111",
        "SignedStart": "2025-01-01T00:00:00Z",
        "SignedExpiry": "2025-01-02T00:00:00Z",
        "SignedService": "b",
        "SignedVersion": "2025-01-05",
        "Value": "a2V5",
    }
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    azure.proxy.answer(asks_for_key(ML), 200, f"<UserDelegationKey>{inner}</UserDelegationKey>", "application/xml")
    assert (await _no_key(azure)).reason is Reason.CLOUD_UNAVAILABLE


async def test_a_listed_name_that_is_no_containers_is_passed_over(azure: AzureStack) -> None:
    """What a listing says is input too: a name with a path or a host in it never becomes part of a URL."""
    properties = "<Properties><Etag>1</Etag><Last-Modified>Sun, 15 Jun 2025 00:00:00 GMT</Last-Modified></Properties>"
    listed = ("good-one", "../x", "a@b.c", "UPPER")
    names = "".join(f"<Container><Name>{name}</Name>{properties}</Container>" for name in listed)
    body = f"<EnumerationResults><Containers>{names}</Containers><NextMarker /></EnumerationResults>"
    azure.proxy.answer(lists_containers(ML), 200, body, "application/xml")
    found = await all_containers(azure.cloud, make_connector(storage_account=ML), make_credential())
    assert [each.name for each in found] == ["good-one"]


async def test_redirects_and_challenges_lead_nowhere(azure: AzureStack) -> None:
    """A token is not sent to another host, nor got for another audience, because an answer says so."""
    azure.proxy.answer(asks_for_key(ML), 302, "", headers={"Location": "https://localhost:1/"})
    assert (await _no_key(azure)).reason is Reason.CLOUD_UNAVAILABLE
    azure.proxy.heal()
    challenge = (
        "Bearer authorization_uri=https://login.invalid/other/oauth2/authorize resource_id=https://vault.azure.net"
    )
    azure.proxy.answer(asks_for_key(ML), 401, "", headers={"WWW-Authenticate": challenge})
    before = azure.control_plane.requests["token"]
    error = await _no_key(azure)
    assert error.reason is Reason.CLOUD_UNAVAILABLE
    assert "another service" in error.message
    assert azure.control_plane.requests["token"] - before == 1


async def test_storage_away(azure: AzureStack) -> None:
    """With Azurite stopped the error names step and account; when it is back, so are the calls."""
    await azure.azurite.stop()
    try:
        azure.proxy.heal()
        error = await _direct_no_list(azure)
        assert error.reason is Reason.CLOUD_UNAVAILABLE
        assert error.metadata["account"] == ML
    finally:
        await azure.azurite.start()
    assert await all_containers(azure.cloud, make_connector(storage_account=ML), make_credential())


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, None, Reason.CLOUD_CREDENTIAL_REJECTED),
        (403, None, Reason.CLOUD_PERMISSION_MISSING),
        (429, None, Reason.CLOUD_THROTTLED),
        (503, None, Reason.CLOUD_UNAVAILABLE),
        (200, "<html>", Reason.CLOUD_UNAVAILABLE),
        (200, "{broken", Reason.CLOUD_UNAVAILABLE),
        (200, '{"value": [{"subscriptionId": "../../x"}]}', Reason.CLOUD_UNAVAILABLE),
        (200, '{"value": 7}', Reason.CLOUD_UNAVAILABLE),
        (200, "{}", Reason.CLOUD_UNAVAILABLE),
        (200, '{"value": {}}', Reason.CLOUD_UNAVAILABLE),
        (200, '{"value": [], "nextLink": "https://localhost:1/steal"}', Reason.CLOUD_UNAVAILABLE),
    ],
)
async def test_arm_in_trouble(azure: AzureStack, status: int, body: str | None, reason: Reason) -> None:
    """Finding accounts fails as its own step, at once, and follows no link to another host."""
    azure.control_plane.fail("arm", status, body=body, retry_after=9 if status == 429 else None)
    error = await _no_list(azure, account="")
    assert error.reason is reason
    assert error.metadata["step"] == "list storage accounts"
    assert error.retry_after == (9 if status == 429 else None)
    if status == 403:
        assert '"Reader"' in error.message


async def test_arm_names_an_account_that_is_a_host(azure: AzureStack) -> None:
    """What ARM says is input: a name that is not an account's is never put into a URL."""
    azure.control_plane.fail("arm", 200, body='{"value": [{"name": "evil.example.com/x", "kind": "StorageV2"}]}')
    connector = make_connector(subscription_id="33333333-3333-3333-3333-333333333333")
    assert await all_containers(azure.cloud, connector, make_credential()) == []


@pytest.mark.parametrize("step", ["token", "arm"])
async def test_slow_or_cut_arm(azure: AzureStack, step: Step) -> None:
    """A cut connection is tried once more; silence ends at the read timeout."""
    azure.control_plane.cut(step, times=1)
    assert await all_containers(azure.cloud, make_connector(), make_credential())
    azure.control_plane.slow("arm", 30)
    async with impatient(azure) as hurried:
        with ends_within(25):
            assert (await _no_list(hurried, account="")).reason is Reason.CLOUD_UNAVAILABLE


async def _direct_no_list(azure: AzureStack) -> BrokerError:
    # Past the proxy, which stays up and would answer with an error of its own.
    profile = replace(azure.profile, blob_endpoint=azure.azurite.blob_endpoint)
    cloud = AzureCloud({"dev": profile})
    try:
        with pytest.raises(BrokerError) as caught:
            await all_containers(cloud, make_connector(storage_account=ML), make_credential())
    finally:
        await cloud.close()
    return caught.value
