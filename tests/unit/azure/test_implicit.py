"""Auth method `implicit`: what may be said of it, and that it is nothing unless the settings say so."""

from dataclasses import replace

import pytest

from support.core import CLIENT, PROFILE, TENANT
from valetkey_broker.adapters.azure.auth_methods.implicit import Implicit, NoSecret
from valetkey_broker.model import AzureConfig, ImplicitSource, InvalidFieldError

ALL = replace(PROFILE, implicit_sources=tuple(ImplicitSource))


def config(source: str, tenant_id: str = "", client_id: str = "") -> AzureConfig:
    return AzureConfig(tenant_id, client_id, "dev", implicit_source=source)


@pytest.mark.parametrize(
    "given",
    [
        config("managed-identity"),
        config("managed-identity", client_id=CLIENT),
        config("workload-identity"),
        config("workload-identity", TENANT, CLIENT),
        config("environment"),
    ],
)
def test_no_secret_is_kept(given: AzureConfig) -> None:
    """What is said stays as it is, and Vault's document is empty, which still has a version."""
    method = Implicit()
    kept, value = method.parse(given, {}, ALL)
    assert (kept, value) == (given, NoSecret())
    assert method.encode(value) == {}
    assert method.decode({"change": "x"}) == value


@pytest.mark.parametrize(
    ("given", "field", "problem"),
    [
        (config(""), "implicit_source", "is not given"),
        (config("azure-cli"), "implicit_source", "'azure-cli' is not a source"),
        (config("managed-identity", TENANT), "tenant_id", "is of no use"),
        (config("managed-identity", client_id="me"), "client_id", "is not a UUID"),
        (config("environment", client_id=CLIENT), "client_id", "is of no use"),
        (config("workload-identity", "contoso"), "tenant_id", "is not a UUID"),
    ],
)
def test_what_does_not_belong(given: AzureConfig, field: str, problem: str) -> None:
    """A field that would be passed over in silence is refused by its name."""
    with pytest.raises(InvalidFieldError, match=problem) as caught:
        Implicit().parse(given, {}, ALL)
    assert caught.value.field == field


def test_nothing_is_allowed_by_itself() -> None:
    """Without the setting no source is allowed, with it those alone that it names; the refusal names the setting."""
    for allowed in ((), (ImplicitSource.ENVIRONMENT,)):
        with pytest.raises(InvalidFieldError, match=r"clouds\.dev\.implicit_sources") as caught:
            Implicit().parse(config("managed-identity"), {}, replace(PROFILE, implicit_sources=allowed))
        assert caught.value.field == "implicit_source"
        assert (", ".join(allowed) or "none") in caught.value.expected
