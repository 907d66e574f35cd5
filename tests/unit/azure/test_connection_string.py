"""Connection strings: an account and its key in the right cloud, or the part that is wrong."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.adapters.azure.auth_methods.account_key import AccountKey
from valetkey_broker.adapters.azure.connection_string import AccountAndKey, read_connection_string
from valetkey_broker.model import AzureConfig, CloudProfile, InvalidFieldError, Secret

PUBLIC = CloudProfile("azure-public", "https://login.invalid", "", "https://{account}.blob.core.windows.net")
ZONE = replace(PUBLIC, name="z12", blob_endpoint="https://{account}.z12.blob.storage.azure.net")
EMULATOR = CloudProfile("dev", "https://127.0.0.1:1", "", "https://127.0.0.1:2/{account}", emulator=True)
KEY = base64.b64encode(b"PLANTED-account-key".ljust(64, b"~")).decode()
OTHER = base64.b64encode(bytes(64)).decode()
PLAIN = f"DefaultEndpointsProtocol=https;AccountName=demoaccount;AccountKey={KEY};EndpointSuffix=core.windows.net"
# As `az storage account show-connection-string` writes it.
OF_AZ = (
    f"DefaultEndpointsProtocol=https;EndpointSuffix=core.windows.net;AccountName=demoaccount;AccountKey={KEY};"
    "BlobEndpoint=https://demoaccount.blob.core.windows.net/;FileEndpoint=https://demoaccount.file.core.windows.net/;"
    "QueueEndpoint=https://demoaccount.queue.core.windows.net/;TableEndpoint=https://demoaccount.table.core.windows.net/"
)


def read(text: str, profile: CloudProfile = PUBLIC) -> AccountAndKey:
    return read_connection_string(Secret(text), profile)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        OF_AZ,
        f"{PLAIN};",
        f"AccountName=demoaccount;AccountKey={KEY}",
        f"accountkey={KEY};ACCOUNTNAME=demoaccount",
        f"{PLAIN};BlobEndpoint=https://demoaccount.blob.core.windows.net",
        f"{PLAIN};BlobEndpoint=HTTPS://DEMOACCOUNT.blob.core.windows.net:443/",
        f"{PLAIN};BlobSecondaryEndpoint=https://demoaccount-secondary.blob.core.windows.net/",
    ],
)
def test_what_azure_writes_is_read(text: str) -> None:
    """The forms in which Azure's tools hand an account's key out all work."""
    assert read(text) == AccountAndKey("demoaccount", Secret(KEY))


def test_the_endpoint_is_the_profiles() -> None:
    """Accounts with a DNS zone, and an emulator's, are where their profile says."""
    named = f"AccountName=demoaccount;AccountKey={KEY}"
    zone = f"{named};BlobEndpoint=https://demoaccount.z12.blob.storage.azure.net/"
    assert read(zone, ZONE).account == "demoaccount"
    assert read(f"{named};BlobEndpoint=https://127.0.0.1:2/demoaccount", EMULATOR).account == "demoaccount"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not given"),
        (f"AccountName=demoaccount;AccountKey={KEY};AccountKey={OTHER}", "holds AccountKey twice"),
        (f"AccountName=demoaccount;accountname=other;AccountKey={KEY}", "holds AccountName twice"),
        ("AccountName=demoaccount", "has no AccountKey"),
        (f"AccountKey={KEY}", "has no AccountName"),
        ("AccountName=demoaccount;AccountKey=", "has no AccountKey"),
        (f"{PLAIN}\n", "holds a line end"),
        (f"AccountName=demoaccount;\nAccountKey={KEY}", "holds a line end"),
        (f"AccountName=demoaccount; AccountKey={KEY}", "holds a line end, a space"),
        (f"AccountName=demoaccount;AccountKey={KEY}\0", "holds a line end"),
        (f"AccountName=demoaccount;;AccountKey={KEY}", "its part 2 is none that is known"),
        (f"AccountName=demoaccount;{KEY}", "its part 2 is none that is known"),
        (f"AccountName=demoaccount;AcountKey={KEY}", "its part 2 is none that is known; AccountKey=… comes near"),
        (KEY, "its part 1 is none that is known"),
        (f"AccountName={KEY};AccountKey=demoaccount", "its AccountName is not a storage account name"),
        (f"AccountName=a/../b;AccountKey={KEY}", "its AccountName is not a storage account name"),
        ("AccountName=demoaccount;AccountKey=c2hvcnQ=", "its AccountKey is base64 of 5 bytes"),
        (f"AccountName=demoaccount;AccountKey={KEY[:-2]}", "its AccountKey is no base64 (86 characters)"),
        (f"DefaultEndpointsProtocol=http;AccountName=demoaccount;AccountKey={KEY}", "DefaultEndpointsProtocol is not"),
        (PLAIN.replace("core.windows.net", "core.chinacloudapi.cn"), "its EndpointSuffix is not where the cloud"),
        (PLAIN.replace("core.windows.net", "core.windows.net.evil.invalid"), "its EndpointSuffix is not where"),
        (f"{PLAIN};BlobEndpoint=http://demoaccount.blob.core.windows.net/", "its BlobEndpoint is http"),
        (f"{PLAIN};BlobEndpoint=https://other.blob.core.windows.net/", "its BlobEndpoint is not where the cloud"),
        (f"{PLAIN};BlobEndpoint=https://x@demoaccount.blob.core.windows.net/", "its BlobEndpoint is not where"),
        (f"{PLAIN};BlobEndpoint=https://demoaccount.blob.core.windows.net/?x=y", "its BlobEndpoint is not where"),
        (f"{PLAIN};BlobEndpoint=https://[demoaccount/", "its BlobEndpoint is not where"),
        ("AccountName=demoaccount;SharedAccessSignature=sv=2020&sig=abc", "holds a SharedAccessSignature"),
        (f"{PLAIN};SharedAccessSignature=sv=2020&sig=abc", "holds a SharedAccessSignature"),
        ("UseDevelopmentStorage=true", "means an emulator, and the cloud azure-public is none"),
        ("UseDevelopmentStorage=false", "its UseDevelopmentStorage is not true"),
        (f"UseDevelopmentStorage=true;{PLAIN}", "does not stand alone"),
        (f"{PLAIN};X{'x' * 9000}=", "characters long"),
    ],
)
def test_what_is_wrong_is_named_and_not_shown(text: str, problem: str) -> None:
    """Each refusal names the part, and shows no value: keys turn up in any of them."""
    with pytest.raises(InvalidFieldError) as caught:
        read(text)
    assert caught.value.field == "connection_string"
    assert problem in caught.value.problem
    for value in (KEY, KEY[:16], OTHER, "sig=", "evil", "c2hvcnQ"):
        assert value not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_emulators_own_account_is_for_emulators_only() -> None:
    """Everybody knows its key, so no other cloud takes it for a credential."""
    found = read("UseDevelopmentStorage=true", EMULATOR)
    assert found.account == "devstoreaccount1"
    assert AUTH_METHODS["account-key"].parse(
        AzureConfig("", "", "dev", found.account), {"account_key": found.account_key}, EMULATOR
    )
    with pytest.raises(InvalidFieldError):
        read("UseDevelopmentStorage=true", replace(EMULATOR, emulator=False))


@given(text=st.text(max_size=60) | st.lists(st.sampled_from([*PLAIN.split(";"), ";", "=", "\n", KEY])).map(";".join))
def test_anything_is_read_or_refused(text: str) -> None:
    """Whatever is pasted, the answer is an account with its key or an error of the field."""
    try:
        found, refused = read(text), ""
    except InvalidFieldError as error:
        found, refused = AccountAndKey("demoaccount", Secret(KEY)), str(error)
    assert found == AccountAndKey("demoaccount", Secret(KEY))
    assert KEY not in refused


@pytest.mark.parametrize(
    ("method", "given_secrets"),
    [("account-key", {"account_key": KEY}), ("connection-string", {"connection_string": OF_AZ})],
)
def test_what_vault_keeps_is_the_same_credential(method: str, given_secrets: dict[str, str]) -> None:
    """A credential survives being stored, and being checked once more from what was stored."""
    secrets = {name: Secret(value) for name, value in given_secrets.items()}
    config, value = AUTH_METHODS[method].parse(AzureConfig("", "", "any", "demoaccount"), secrets, PUBLIC)
    document = AUTH_METHODS[method].encode(value)
    assert AUTH_METHODS[method].decode(document) == value
    stored = {name: Secret(text) for name, text in document.items()}
    assert AUTH_METHODS[method].parse(config, stored, PUBLIC) == (config, value)
    assert KEY not in repr((config, value))


@pytest.mark.parametrize(
    ("method", "change", "secret", "field"),
    [
        ("account-key", {"storage_account": ""}, KEY, "storage_account"),
        ("account-key", {"tenant_id": "11111111-1111-4111-8111-111111111111"}, KEY, "tenant_id"),
        ("account-key", {}, "", "account_key"),
        ("account-key", {}, f"{KEY}\n", "account_key"),
        ("account-key", {}, f'{{"keyName": "kerb1", "value": "{KEY}"}}', "account_key"),
        ("account-key", {}, base64.b64encode(bytes(32)).decode(), "account_key"),
        ("account-key", {}, KEY.replace("=", "A"), "account_key"),
        ("account-key", {}, f"{KEY[:-3]}{chr(ord(KEY[-3]) + 1)}==", "account_key"),
        ("account-key", {}, "ключ", "account_key"),
        ("connection-string", {"storage_account": "otheraccount"}, PLAIN, "connection_string"),
        ("connection-string", {"client_id": "22222222-2222-4222-8222-222222222222"}, PLAIN, "client_id"),
    ],
)
def test_what_does_not_belong_together_is_refused(method: str, change: Any, secret: str, field: str) -> None:
    """A key of another form, of another account, or beside a log-in to Entra is refused before anything is asked."""
    config = replace(AzureConfig("", "", "azure-public", "demoaccount"), **change)
    name = method.replace("-", "_")
    with pytest.raises(InvalidFieldError) as caught:
        AUTH_METHODS[method].parse(config, {name: Secret(secret)} if secret else {}, PUBLIC)
    assert caught.value.field == field
    assert KEY not in str(caught.value)


def test_credentials_of_two_methods_are_never_mixed_up() -> None:
    """A document or a value of one method is not taken for one of another."""
    with pytest.raises(TypeError):
        AUTH_METHODS["account-key"].encode(AccountAndKey("demoaccount", Secret(KEY)))
    with pytest.raises(TypeError):
        AUTH_METHODS["connection-string"].encode(AccountKey(Secret(KEY)))
    with pytest.raises((KeyError, ValueError)):
        AUTH_METHODS["account-key"].decode({"account_key": "spoilt"})
    with pytest.raises((KeyError, ValueError)):
        AUTH_METHODS["connection-string"].decode({"account_key": KEY})
