"""Names, account names, UUIDs and resource groups: full matches, with messages that are safe to print."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey_broker.model import InvalidFieldError, check_account, check_name, check_secret_name, check_uuid
from valetkey_broker.model.errors import shown
from valetkey_broker.model.names import check_resource_group

_UUID = "0f9d7c52-6a3e-4a53-9d53-0f3a4f4f6c11"
_CONTROLS = ("\0", "\n", "\r\n", " ", "\u2028", "\u200b")


def test_a_uuid_that_is_not_given() -> None:
    """Whoever left it out is told so, and reads no '' that they did not write."""
    with pytest.raises(InvalidFieldError, match="tenant_id: is not given; expected a UUID such as 0"):
        check_uuid("tenant_id", "")


@pytest.mark.parametrize("name", ["a", "7", "a-b", "a--b", "azure-blob-demo", "a" * 63])
def test_names_at_the_edges(name: str) -> None:
    """1 to 63 characters with inner hyphens can name a connector or a key."""
    assert check_name("name", name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-",
        "-a",
        "a-",
        "a" * 64,
        "A",
        "a_b",
        "a.b",
        "a/b",
        "..",
        "a/../b",
        "a%2fb",
        "\u00e9",
        "\u0430",
        "\u0663",
        "*",
    ]
    + [f"a{control}" for control in _CONTROLS]
    + [f"{control}a" for control in _CONTROLS],
)
def test_bad_names(name: str) -> None:
    """A name becomes a path in Vault: nothing that a path or a policy reads differently gets in."""
    with pytest.raises(InvalidFieldError, match=r"^name: ") as caught:
        check_name("name", name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["a", "7", "az_secret", "a-b_c", "a__b", "a" * 63])
def test_names_of_secrets_at_the_edges(name: str) -> None:
    """Underscores are for secrets only, and inside only."""
    assert check_secret_name("name", name) == name


@pytest.mark.parametrize(
    "name", ["", "_", "_a", "a_", "-a", "a-", "a" * 64, "A", "a.b", "a/b", "..", "a\n", "\u00e9", "*"]
)
def test_bad_names_of_secrets(name: str) -> None:
    """The name of a secret becomes a path in Vault, too."""
    with pytest.raises(InvalidFieldError, match=r"^name: ") as caught:
        check_secret_name("name", name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("account", ["abc", "a1b2c3", "a" * 24, "123"])
def test_good_accounts(account: str) -> None:
    """3 to 24 lower-case letters and digits name a storage account."""
    assert check_account("storage_account", account) == account


@pytest.mark.parametrize(
    "account",
    [
        *("", "ab", "a" * 25, "Account", "acc-ount", "acc_ount", "account.blob.core.windows.net", "evil.example"),
        *("evil.example/", "account@evil", "account:443", "https://account", "127.0.0.1", "[::1]", "localhost.", "a/b"),
        *("account#", "account?", "{account}", "acc%6funt", "\u0430ccount", "account\u017f", "account\u0663"),
        *(f"account{control}" for control in _CONTROLS),
    ],
)
def test_accounts_that_are_hosts(account: str) -> None:
    """An account name is put into a host: nothing in it may lead the broker to another one."""
    with pytest.raises(InvalidFieldError, match=r"^storage_account: "):
        check_account("storage_account", account)


def test_uuids_are_lowered() -> None:
    """Portals print UUIDs in either case; the broker keeps one."""
    assert check_uuid("tenant_id", _UUID.upper()) == _UUID


@pytest.mark.parametrize(
    "value",
    [
        "",
        "common",
        _UUID.replace("-", ""),
        f"{{{_UUID}}}",
        _UUID[:-1],
        f"{_UUID}0",
        f"{_UUID}\n",
        f"urn:uuid:{_UUID}",
        _UUID.replace("0", "g"),
        _UUID.replace("0", "\u0660"),
        f"{_UUID}/../x",
        "evil.example",
        _UUID.replace("-", "\u2010"),
    ],
)
def test_bad_uuids(value: str) -> None:
    """A tenant is put into the URL of the log-in: only a UUID may be, not `common`, a domain or a path."""
    with pytest.raises(InvalidFieldError, match=r"^tenant_id: "):
        check_uuid("tenant_id", value)


@pytest.mark.parametrize("value", ["rg", "My_Group-(1).x", "a" * 90, "a."[:1]])
def test_good_resource_groups(value: str) -> None:
    """Azure's alphabet for resource groups is taken whole."""
    assert check_resource_group("resource_group", value) == value


@pytest.mark.parametrize("value", ["", "a.", ".", "a" * 91, "a/b", "a b", "a'b", "a\n", "\u00fc", "a?b", ".."])
def test_bad_resource_groups(value: str) -> None:
    """A resource group is put into an ARM path: no slash, no quote, no final period."""
    with pytest.raises(InvalidFieldError, match=r"^resource_group: "):
        check_resource_group("resource_group", value)


@given(st.text(max_size=70), st.sampled_from([check_name, check_account, check_uuid, check_resource_group]))
def test_what_passes_is_plain(text: str, check: Callable[[str, str], str]) -> None:
    """Whatever any check accepts is printable ASCII without separators of URLs and paths."""
    try:
        accepted = check("field", text)
    except InvalidFieldError:
        return
    assert accepted.isascii()
    assert accepted.isprintable()
    assert not set(accepted) & set("/\\?#%@:*&;\"' ")


@given(st.text(max_size=200))
def test_shown_values_are_safe_to_print(text: str) -> None:
    """A hostile value in a message cannot start a new line, colour a terminal or bury the rest."""
    printed = shown(text)
    assert printed.removesuffix("…").isascii()
    assert printed.isprintable()
    assert len(printed) <= 80 * len(r"\U00000000") + 3
