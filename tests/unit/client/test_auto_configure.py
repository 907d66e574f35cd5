"""`register --auto-configure`: what of the operator's environment is taken, and what is said of it."""

from pathlib import Path

import pytest

from support.cli_runner import Runner
from support.fake_broker import FakeBroker
from valetkey.cli.auth_methods import AuthMethod
from valetkey.cli.environment_credentials import offers, the_offer
from valetkey.errors import InvalidArgumentError

SECRET = "PLANTED~secret"
PRINCIPAL = {"AZURE_TENANT_ID": "t-1", "AZURE_CLIENT_ID": "c-1"}
KEY = {"AZURE_STORAGE_ACCOUNT": "contosoml", "AZURE_STORAGE_KEY": SECRET}
REGISTER = ("service-connector", "register", "demo", "--auto-configure")


@pytest.fixture(autouse=True)
def _nothing_of_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("environ", "method", "fields"),
    [
        (
            {**PRINCIPAL, "AZURE_CLIENT_SECRET": SECRET},
            AuthMethod.SERVICE_PRINCIPAL,
            {"tenant_id": "t-1", "client_id": "c-1", "client_secret": SECRET},
        ),
        (
            {**PRINCIPAL, "AZURE_CLIENT_CERTIFICATE_PATH": "/c.pem", "AZURE_CLIENT_CERTIFICATE_PASSWORD": SECRET},
            AuthMethod.SERVICE_PRINCIPAL,
            {
                "tenant_id": "t-1",
                "client_id": "c-1",
                "client_certificate": "@/c.pem",
                "client_certificate_password": SECRET,
            },
        ),
        ({"AZURE_STORAGE_CONNECTION_STRING": SECRET}, AuthMethod.CONNECTION_STRING, {"connection_string": SECRET}),
        (KEY, AuthMethod.ACCOUNT_KEY, {"storage_account": "contosoml", "account_key": SECRET}),
    ],
)
def test_what_the_environment_offers(environ: dict[str, str], method: AuthMethod, fields: dict[str, str]) -> None:
    """Protects each place where Azure's tools keep credentials; what it says of one names variables, never values."""
    (offer,) = offers(environ)
    assert (offer.auth_method, dict(offer.fields)) == (method, fields)
    assert the_offer(environ, None) == the_offer(environ, method) == offer
    assert SECRET not in str(offer) + repr(offer)


@pytest.mark.parametrize(
    ("environ", "wanted", "says"),
    [
        ({}, None, "offers no credential; expected AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, or"),
        (PRINCIPAL, None, "AZURE_TENANT_ID and AZURE_CLIENT_ID set, but not AZURE_CLIENT_SECRET"),
        (KEY, AuthMethod.SERVICE_PRINCIPAL, "offers no credential for service-principal; expected"),
        ({"AZURE_FEDERATED_TOKEN_FILE": "/t"}, None, "AZURE_FEDERATED_TOKEN_FILE is of no use here: a workload's own"),
        (
            {**KEY, "AZURE_STORAGE_CONNECTION_STRING": SECRET},
            None,
            "AZURE_STORAGE_CONNECTION_STRING); account-key (from AZURE_STORAGE_ACCOUNT, AZURE_STORAGE_KEY); choose one",
        ),
        (
            {**PRINCIPAL, "AZURE_CLIENT_SECRET": SECRET, "AZURE_CLIENT_CERTIFICATE_PATH": "/c"},
            AuthMethod.SERVICE_PRINCIPAL,
            "unset what is not meant",
        ),
    ],
)
def test_none_or_several(environ: dict[str, str], wanted: AuthMethod | None, says: str) -> None:
    """Protects against a guess: what is missing is named, and of several the person chooses."""
    with pytest.raises(InvalidArgumentError) as caught:
        the_offer(environ, wanted)
    assert says in caught.value.message
    assert SECRET not in caught.value.message


def test_register_takes_it_and_says_from_where(
    valetkey: Runner, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Protects the whole way, with a secret and with a certificate's file."""
    for name, value in {**PRINCIPAL, "AZURE_CLIENT_SECRET": SECRET}.items():
        monkeypatch.setenv(name, value)
    ran = valetkey(*REGISTER, "--resource-id", "az://models")
    assert (ran.code, ran.err) == (
        0,
        "Note: --auto-configure takes service-principal (from AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET)\n",
    )
    assert broker.requests[-1].azure_secret.client_secret == SECRET
    pem = tmp_path / "c.pem"
    pem.write_text("-----BEGIN PRIVATE KEY-----\n")
    monkeypatch.delenv("AZURE_CLIENT_SECRET")
    monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(pem))
    assert valetkey(*REGISTER).code == 0
    assert broker.requests[-1].azure_secret.client_certificate == "-----BEGIN PRIVATE KEY-----"
    ran = valetkey(*REGISTER, "--client-id", "c-2")
    assert (ran.code, "--client-id is given besides --auto-configure" in ran.err) == (2, True)
