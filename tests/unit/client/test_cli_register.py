"""What `service-connector register` takes for each auth method, and where it takes secrets from."""

import base64
from pathlib import Path

import pytest

from support.cli_runner import Runner
from support.fake_broker import FakeBroker
from valetkey.cli.auth_methods import METHODS, AuthMethod, choose
from valetkey.cli.credential_input import read_given, read_missing
from valetkey.cli.screen import Screen
from valetkey.errors import InvalidArgumentError, SettingsError

SECRET = "PLANTED~secret"
PEM = "-----BEGIN PRIVATE KEY-----\nPLANTEDkey\n-----END PRIVATE KEY-----\n"
REGISTER = ("service-connector", "register", "demo")


@pytest.mark.parametrize(
    ("given", "method"),
    [
        (("tenant_id", "client_id", "client_secret"), AuthMethod.SERVICE_PRINCIPAL),
        (("tenant_id", "client_id", "client_certificate", "client_certificate_password"), AuthMethod.SERVICE_PRINCIPAL),
        (("tenant_id", "client_id"), AuthMethod.SERVICE_PRINCIPAL),
        (("storage_account", "account_key"), AuthMethod.ACCOUNT_KEY),
        (("connection_string",), AuthMethod.CONNECTION_STRING),
        (("implicit_source",), AuthMethod.IMPLICIT),
        (("implicit_source", "client_id", "storage_account"), AuthMethod.IMPLICIT),
        (("implicit_source", "client_id", "tenant_id"), AuthMethod.IMPLICIT),
    ],
)
def test_the_auth_method_is_recognised(given: tuple[str, ...], method: AuthMethod) -> None:
    """Protects whoever leaves --auth-method out: what is given says it."""
    assert choose(None, given) is method


def test_a_secret_in_the_environment_says_it_too() -> None:
    """Protects CI jobs; what is given on the line wins over what lies about in the environment."""
    assert choose(None, ["storage_account"], ["account_key"]) is AuthMethod.ACCOUNT_KEY
    assert choose(None, ["tenant_id", "client_id"], ["account_key"]) is AuthMethod.SERVICE_PRINCIPAL


@pytest.mark.parametrize(
    ("chosen", "given", "says"),
    [
        (None, ["account_key", "client_secret"], "client_secret (service-principal) and account_key (account-key)"),
        (None, ["storage_account"], "nothing says how to log in; pass --tenant-id, --client-id and --client-secret"),
        (None, ["tenant_id", "client_secret"], "--client-id: is not given; service-principal needs it"),
        ("account-key", ["account_key", "tenant_id"], "--tenant-id: is not taken by the auth method account-key, but"),
        ("service-principal", ["tenant_id", "client_id", "implicit_source"], "by implicit; leave it out"),
        ("implicit", [], "--implicit-source: is not given"),
    ],
)
def test_what_does_not_fit_is_named(chosen: str | None, given: list[str], says: str) -> None:
    """Protects against a field that would be dropped in silence."""
    with pytest.raises(InvalidArgumentError) as caught:
        choose(AuthMethod(chosen) if chosen else None, given)
    assert says in caught.value.message


def test_every_field_has_an_option(bare: Runner) -> None:
    """Protects the help from falling behind what the auth methods take; each option stands there once."""
    shown = bare("service-connector", "register", "--help").out
    for taken in METHODS.values():
        for field in taken.fields:
            assert shown.count(f"--{field.replace('_', '-')} ") == 1, field


def test_a_field_of_another_auth_method_is_refused_unsent(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects against a mix of two auth methods."""
    ran = valetkey(*REGISTER, "--auth-method", "service-principal", "--account_key", SECRET)
    assert (ran.code, broker.requests) == (2, [])
    assert "--account-key: is not taken by the auth method service-principal, but by account-key" in ran.err
    assert SECRET not in ran.err


@pytest.mark.parametrize("option", ["--storage-account", "--account-name", "--account_name"])
def test_zenmls_word_for_the_account(option: str, valetkey: Runner, broker: FakeBroker) -> None:
    """Protects ZenML's fingers: account_name is the storage account."""
    ran = valetkey(*REGISTER, "--tenant-id=t-1", "--client-id=c-1", "--client-secret", SECRET, f"{option}=contosoml")
    assert (ran.code, broker.requests[0].azure.storage_account) == (0, "contosoml")
    assert "are the same" in valetkey(*REGISTER, "--storage-account=a", "--account-name=b").err


@pytest.fixture
def screen() -> Screen:
    return Screen(as_json=False)


def test_a_certificate_is_read_whole(screen: Screen, tmp_path: Path) -> None:
    """Protects certificates, the one secret of several lines: PEM as it is, a PFX in base64."""
    pem, pfx = tmp_path / "a.pem", tmp_path / "a.pfx"
    pem.write_text(f"\ufeff{PEM}")
    pfx.write_bytes(b"\x30\x82\x04\xd2\x02\x01\x03")
    read = read_given({"client_certificate": f"@{pem}"}, screen)
    assert read == {"client_certificate": PEM.strip()}
    read = read_given({"client_certificate": f"@{pfx}"}, screen)
    assert base64.b64decode(read["client_certificate"]) == pfx.read_bytes()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\x00\x01", "holds control characters"),
        (b"\xff\xfe", "is not text"),
        (b"x" * 70_000, "holds over 65536"),
        (b"\x30\xff" * 40_000, "holds over 65536"),
    ],
)
def test_a_file_that_holds_no_certificate(content: bytes, says: str, screen: Screen, tmp_path: Path) -> None:
    """Protects against sending rubbish."""
    path = tmp_path / "a.pem"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_given({"client_certificate": f"@{path}"}, screen)
    assert f"client certificate: file {path} {says}" in caught.value.message


def test_secrets_of_the_environment(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects CI jobs with a certificate, or a key: each secret has its own variable."""
    monkeypatch.setenv("VALETKEY_CLIENT_CERTIFICATE", PEM)
    monkeypatch.setenv("VALETKEY_CLIENT_CERTIFICATE_PASSWORD", SECRET)
    monkeypatch.setenv("VALETKEY_ACCOUNT_KEY", "a2V5")
    assert read_missing(AuthMethod.SERVICE_PRINCIPAL, {}, screen) == {
        "client_certificate": PEM.strip(),
        "client_certificate_password": SECRET,
    }
    assert read_missing(AuthMethod.ACCOUNT_KEY, {}, screen) == {"account_key": "a2V5"}
    assert read_missing(AuthMethod.IMPLICIT, {}, screen) == {}


def test_one_secret_alone_comes_from_standard_input(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects against taking the first line of one secret for the other."""
    monkeypatch.setattr("sys.stdin", Path("/dev/null").open())  # noqa: SIM115 (as long as the test)
    given = {"client_certificate": "-", "client_certificate_password": "-"}
    with pytest.raises(InvalidArgumentError, match="only one secret can come from standard input"):
        read_given(given, screen)
