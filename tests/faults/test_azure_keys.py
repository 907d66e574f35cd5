"""Storage refuses an account's key: what people are told, and that no answer brings the key out."""

import base64
import logging
import time
from dataclasses import replace

import pytest

from support.azure_stack import ML, AzureStack, make_key_connector, make_key_credential
from support.cloud_containers import all_containers
from support.fault_proxy import lists_containers
from support.leaks import found_in
from valetkey_broker.adapters.azure import AzureCloud
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Container, Secret

METHODS = ("account-key", "connection-string")


@pytest.mark.parametrize(
    ("code", "reason", "says"),
    [
        (
            "KeyBasedAuthenticationNotPermitted",
            Reason.CLOUD_PERMISSION_MISSING,
            "does not allow shared key access, which this connector needs",
        ),
        ("AuthenticationFailed", Reason.CLOUD_CREDENTIAL_REJECTED, "value of key1 or key2 (not of kerb1 or kerb2)"),
        # Azurite's word for it, in an emulator's profile; Azure's for its network rules elsewhere.
        ("AuthorizationFailure", Reason.CLOUD_CREDENTIAL_REJECTED, "AuthenticationFailed: the account key was not"),
        ("AccountIsDisabled", Reason.CLOUD_PERMISSION_MISSING, "the account is disabled"),
        ("AuthorizationPermissionMismatch", Reason.CLOUD_PERMISSION_MISSING, "a setting of the account"),
    ],
)
async def test_each_refusal_says_what_to_do(azure: AzureStack, code: str, reason: Reason, says: str) -> None:
    """An operator reads what is wrong with the key or the account, and never of a role: keys have none."""
    azure.proxy.refuse(lambda request: request.query.get("comp") == "properties", 403, code)
    with pytest.raises(BrokerError) as caught:
        await azure.cloud.log_in(make_key_connector(), make_key_credential(azure.azurite.accounts[ML]))
    assert caught.value.reason is reason
    assert says in caught.value.message
    assert "role" not in caught.value.message
    assert caught.value.metadata["step"] == "use the account key"
    assert "key" not in caught.value.public().message


async def test_network_rules_are_not_taken_for_a_wrong_key(azure: AzureStack) -> None:
    """What Azurite says of a key, Azure says of its firewall: only the profile tells the two apart."""
    azure.proxy.refuse(lists_containers(ML), 403, "AuthorizationFailure")
    cloud = AzureCloud({"dev": replace(azure.profile, emulator=False)})
    with pytest.raises(BrokerError, match="network rules"):
        await all_containers(cloud, make_key_connector(), make_key_credential(azure.azurite.accounts[ML]))
    await cloud.close()


async def test_an_account_without_shared_keys_gives_no_proof(azure: AzureStack) -> None:
    """A token that the account refuses on principle is not taken for one that only may not list."""
    connector, credential = make_key_connector(), make_key_credential(azure.azurite.accounts[ML])
    key = await azure.cloud.signing_key(connector, credential, ML, starts=0, expires=1)
    container = Container(ML, "demo-datasets", azure.profile.container_url(ML, "demo-datasets"))
    azure.proxy.refuse(lambda request: "sig" in request.query, 403, "KeyBasedAuthenticationNotPermitted")
    with pytest.raises(BrokerError, match="does not allow shared key access"):
        await azure.cloud.accepts(connector, container, key)


@pytest.mark.parametrize("auth_method", METHODS)
async def test_a_storage_that_echoes_the_key(
    azure: AzureStack, auth_method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither error nor log nor repr shows the key, whatever storage says and however loud the log is."""
    caplog.set_level(logging.DEBUG)
    key = azure.azurite.accounts[ML]
    connector, credential = make_key_connector(auth_method), make_key_credential(key, auth_method)
    await azure.cloud.log_in(connector, credential)
    signing = await azure.cloud.signing_key(connector, credential, ML, starts=0, expires=time.time() + 60)
    echo = f"The MAC signature was made with AccountKey={key.reveal()} {key.reveal()}"
    azure.proxy.refuse(lambda _request: True, 403, "AuthenticationFailed", echo)
    with pytest.raises(BrokerError) as refused:
        await azure.cloud.log_in(connector, credential)
    with pytest.raises(BrokerError) as unlisted:
        await all_containers(azure.cloud, connector, credential)
    shown = [caplog.text, repr((connector, credential, signing, vars(signing.material), vars(azure.cloud)))]
    for each in (refused.value, unlisted.value):
        shown += [str(each), repr(each), repr(vars(each)), repr(each.__cause__), repr(each.__context__)]
    assert found_in("\n".join(shown), {"key": key.reveal()}) == set()


async def test_a_key_that_is_another_accounts(azure: AzureStack) -> None:
    """A key of the right form that is not this account's fails at the first step, on real Azurite."""
    other = Secret(base64.b64encode(b"kerb1".ljust(64)).decode())
    with pytest.raises(BrokerError) as caught:
        await azure.cloud.log_in(make_key_connector(), make_key_credential(other))
    assert caught.value.reason is Reason.CLOUD_CREDENTIAL_REJECTED


async def test_a_key_does_not_open_resource_manager(azure: AzureStack) -> None:
    """What only Resource Manager knows is told as not to be had, and nobody is asked for it."""
    connector, credential = make_key_connector(), make_key_credential(azure.azurite.accounts[ML])
    with pytest.raises(BrokerError, match="is not asked: an account's key opens its storage alone"):
        await azure.cloud.account_settings(connector, credential, [ML])
    assert azure.control_plane.requests["arm"] == 0
