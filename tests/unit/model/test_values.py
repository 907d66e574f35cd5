"""Permissions, source addresses, API keys, cloud profiles and error reasons."""

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.v1 import errors_pb2
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import (
    CloudProfile,
    Evidence,
    InvalidFieldError,
    Permission,
    PermissionSet,
    Principal,
    Role,
    api_key_digest,
    parse_source_ip,
)

# Source: https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas#specify-permissions
_AZURE_ORDER = "racwdxyltmeopi"


@given(st.lists(st.sampled_from(Permission), min_size=1))
def test_permissions_are_written_in_azures_order(wanted: list[Permission]) -> None:
    """The storage service refuses `sp` letters out of order or twice, however the caller lists them."""
    permissions = PermissionSet(wanted)
    assert permissions.sp == "".join(letter for letter in _AZURE_ORDER if letter in {p.value for p in wanted})
    assert [p.value for p in permissions.members] == list(permissions.sp)
    assert permissions == PermissionSet(reversed(wanted))
    assert hash(permissions) == hash(PermissionSet(reversed(wanted)))
    assert repr(permissions) == f"PermissionSet({permissions.sp})"


def test_no_permissions_is_an_error() -> None:
    """An empty set must not become an empty `sp`; the message says what there is."""
    with pytest.raises(InvalidFieldError, match=r"permissions: none given; expected .*read.*list"):
        PermissionSet([])
    assert PermissionSet([Permission.READ]) != "r"


@pytest.mark.parametrize(
    "value", ["0.0.0.0", "203.0.113.7", "203.0.113.1-203.0.113.9", "10.0.0.1-10.0.0.1", "255.255.255.255"]
)
def test_good_source_addresses(value: str) -> None:
    """An IPv4 address and an ascending range are what `sip` takes."""
    assert parse_source_ip(value) == value


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "-",
            "::1",
            "2001:db8::1",
            "::ffff:203.0.113.7",
            "203.0.113.07",
            "0203.0.113.7",
            "203.0.113",
            "203.0.113.256",
        ),
        *("203.0.113.7\n", "\n203.0.113.7", " 203.0.113.7", "203.0.113.7 ", "203.0.113.7\0", "203.0.113.0/24", "1"),
        *("203.0.113.9-203.0.113.1", "1.1.1.1-2.2.2.2-3.3.3.3", "1.1.1.1-", "-1.1.1.1", "1.1.1.1 - 2.2.2.2"),
        *(
            "1.1.1.1\u20132.2.2.2",
            "\u0662\u0660\u0663.0.113.7",
            "203.0.113.7&sp=racwdl",
            "localhost",
            "0x7f.0.0.1",
            "203.0.113.-7",
        ),
    ],
)
def test_bad_source_addresses(value: str) -> None:
    """What is signed as `sip` is an address: no IPv6, no network, no line end that shifts the signed fields."""
    with pytest.raises(InvalidFieldError, match=r"^source_ip: "):
        parse_source_ip(value)


@given(st.text(alphabet="0123456789.-:\n /", max_size=40))
def test_accepted_addresses_are_canonical(text: str) -> None:
    """What comes out is what went in: nothing is normalised away behind the caller's back."""
    with contextlib.suppress(InvalidFieldError):
        assert parse_source_ip(text) == text


def test_key_digest_is_of_the_whole_key() -> None:
    """Client and broker must hash the same bytes, prefix included."""
    key = "vk_" + "Ab-_9" * 8 + "abc"
    assert api_key_digest(key) == hashlib.sha256(key.encode()).digest()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "vk_",
        "vk_" + "a" * 42,
        "vk_" + "a" * 44,
        "VK_" + "a" * 43,
        "vk_" + "a" * 42 + "+",
        "a" * 46,
        "vk_" + "a" * 43 + "\n",
        " vk_" + "a" * 43,
        "vk_" + "\u00e4" * 43,
        "vk_" + "a" * 42 + "=",
    ],
)
def test_what_has_not_the_form_of_a_key_is_not_hashed(key: str) -> None:
    """Malformed keys are turned away before any work is done for them."""
    assert api_key_digest(key) is None


def test_principals_know_their_roles() -> None:
    """One of the roles is enough; none of them is not."""
    principal = Principal("key:a", frozenset({Role.VIEWER}), Evidence.API_KEY, 2.0)
    assert principal.has_any([Role.ADMIN, Role.VIEWER])
    assert not principal.has_any([Role.ADMIN])
    assert not principal.has_any([])


def test_profiles_put_the_account_into_their_template() -> None:
    """The host of every URL comes from the operator's template alone."""
    profile = CloudProfile("c", "https://login.invalid", "", "https://{account}.blob.invalid")
    assert profile.blob_url("account") == "https://account.blob.invalid"
    assert profile.container_url("account", "demo") == "https://account.blob.invalid/demo"


def test_reasons_are_those_of_the_api() -> None:
    """Every reason can travel, and the API promises none that the broker does not have."""
    api = {name.removeprefix("ERROR_REASON_") for name in errors_pb2.ErrorReason.keys()}  # noqa: SIM118 (an enum wrapper)
    assert {reason.name for reason in Reason} == api - {"UNSPECIFIED"}


def test_errors_keep_their_own_metadata() -> None:
    """An error's facts cannot be changed through the dictionary they came from."""
    facts = {"connector": "a"}
    error = BrokerError(Reason.CONFLICT, "message", facts, retry_after=1.5)
    facts["connector"] = "b"
    assert (error.metadata, error.retry_after, str(error)) == ({"connector": "a"}, 1.5, "message")


def test_invalid_fields_say_what_was_expected() -> None:
    """A malformed field names itself, the problem and the way out."""
    error = InvalidFieldError("ttl", "is 0 s", "1 to 60 s")
    assert str(error) == "ttl: is 0 s; expected 1 to 60 s"
