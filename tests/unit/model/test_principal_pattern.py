"""Names of principals: those that a caller can have, and no others."""

import pytest

from valetkey_broker.model import InvalidFieldError, check_principal, principal_pattern, voucher

_NAMES = [
    "key:trainer",
    "oidc:https://issuer.invalid#system:serviceaccount:ml:trainer",
    "oidc:https://issuer.invalid#a subject with blanks inside",
    "spiffe://example.org/ns/ml/sa/trainer",
]


@pytest.mark.parametrize("name", _NAMES)
def test_a_name_of_a_caller(name: str) -> None:
    """It is taken as it stands, by itself and in a grant."""
    assert check_principal("principal", name) == name
    assert principal_pattern(name, "principals").matches(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "trainer",
        "key:",
        "key:*",
        "key:Trainer",
        "key:a/b",
        "key:trainer\n",
        "user:trainer",
        "oidc:https://issuer.invalid",
        "oidc:https://issuer.invalid#",
        "oidc:https://issuer.invalid#a*",
        "oidc:https://issuer.invalid#a\n",
        "oidc:https://issuer.invalid#a\x7f",
        "oidc:https://issuer.invalid#\u00e9",
        "oidc:https://issuer.invalid#" + "a" * 2048,
        "spiffe://example.org",
        "spiffe://example.org/*",
        "spiffe://example.org/a/../b",
        "spiffe://EXAMPLE.org/a",
        "spiffe://example.org/\u00e9",
    ],
)
def test_what_no_caller_is_called(name: str) -> None:
    """Nobody is asked about by a pattern, by half a name, or by one that looks like another's."""
    with pytest.raises(InvalidFieldError) as caught:
        check_principal("principal", name)
    assert caught.value.field == "principal"


@pytest.mark.parametrize(
    "text", ["", "a" * 5000, "key:**", " key:a", "key:a ", "*", "oidc:https://*#a", "spiffe://*/a"]
)
def test_what_is_no_pattern_of_principals(text: str) -> None:
    """What is empty, endless, or leaves open who vouches for them is refused, and the field is named."""
    with pytest.raises(InvalidFieldError) as caught:
        principal_pattern(text, "principals")
    assert caught.value.field == "principals"


def test_who_vouches() -> None:
    """For an API key it is the broker itself."""
    assert [voucher(name) for name in _NAMES] == [
        "",
        "oidc:https://issuer.invalid",
        "oidc:https://issuer.invalid",
        "spiffe://example.org",
    ]
