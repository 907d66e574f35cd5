"""Client certificates are checked when they are given: what Entra would refuse is refused with the field's name."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from support.core import CLIENT, TENANT
from support.entra_certificates import elliptic_key, make_certificate, rsa_key
from support.fake_cloud import FAKE_PROFILE
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret, ServicePrincipal
from valetkey_broker.adapters.azure.client_certificate import ClientCertificate, read_client_certificate
from valetkey_broker.connectors.connector_draft import end_of
from valetkey_broker.connectors.credential_warnings import credential_warnings
from valetkey_broker.model import AzureConfig, InvalidFieldError, Secret

CERTIFICATE, PASSWORD = "client_certificate", "client_certificate_password"
GOOD = make_certificate()
OTHER = make_certificate(rsa_key("other"))
CONFIG = AzureConfig(TENANT, CLIENT, "dev")


@pytest.mark.parametrize(
    ("given_text", "password"),
    [
        (GOOD.pem(), ""),
        (GOOD.key_pem() + GOOD.certificate_pem(), ""),
        (GOOD.key_pem() + OTHER.certificate_pem() + GOOD.certificate_pem(), ""),
        (GOOD.certificate_pem() + GOOD.key_pem(form=PrivateFormat.TraditionalOpenSSL), ""),
        (f"Bag Attributes\n    friendlyName: broker\n{GOOD.pem()}".replace("\n", "\r\n"), ""),
        (GOOD.pem("opener"), "opener"),
        (GOOD.certificate_pem() + GOOD.key_pem("opener", PrivateFormat.TraditionalOpenSSL), "opener"),
        (GOOD.pfx(), ""),
        (GOOD.pfx("opener"), "opener"),
        (GOOD.pfx("öffner"), "öffner"),
        ("\n".join(base64.encodebytes(base64.b64decode(GOOD.pfx())).decode().split()), ""),
    ],
)
def test_every_form_becomes_one(given_text: str, password: str) -> None:
    """PEM in any order, PFX, with a password or without: the broker keeps the key and its own certificate."""
    read = read_client_certificate(given_text, password)
    assert read.pem.reveal() == GOOD.key_pem() + GOOD.certificate_pem()
    assert read.expires_at == GOOD.certificate.not_valid_after_utc
    assert "PRIVATE" not in repr(read)


REFUSED: dict[str, tuple[Callable[[], str], str, str, str]] = {
    "expired": (lambda: make_certificate(days=(-9, -1)).pem(), "", CERTIFICATE, "expired on"),
    "not yet valid": (lambda: make_certificate(days=(1, 9)).pem(), "", CERTIFICATE, "is not valid before"),
    "expired PFX": (lambda: make_certificate(days=(-9, -1)).pfx(), "", CERTIFICATE, "expired on"),
    "EC key": (lambda: make_certificate(elliptic_key()).pem(), "", CERTIFICATE, "is not an RSA key"),
    "EC key in PFX": (lambda: make_certificate(elliptic_key()).pfx(), "", CERTIFICATE, "is not an RSA key"),
    "short key": (lambda: make_certificate(rsa_key("short", 1024)).pem(), "", CERTIFICATE, "has 1024 bits"),
    "another's key": (lambda: GOOD.certificate_pem() + OTHER.key_pem(), "", CERTIFICATE, "does not belong"),
    "no key": (GOOD.certificate_pem, "", CERTIFICATE, "holds no private key"),
    "no key in PFX": (lambda: GOOD.pfx(key=False), "", CERTIFICATE, "holds no private key"),
    "no certificate": (GOOD.key_pem, "", CERTIFICATE, "holds no certificate"),
    "no certificate in PFX": (lambda: GOOD.pfx(certificate=False), "", CERTIFICATE, "holds no certificate"),
    "missing password": (lambda: GOOD.pem("opener"), "", PASSWORD, "is not given"),
    "missing password of PFX": (lambda: GOOD.pfx("opener"), "", PASSWORD, "is not given"),
    "wrong password": (lambda: GOOD.pem("opener"), "closer", PASSWORD, "does not open"),
    "wrong password of PFX": (lambda: GOOD.pfx("opener"), "closer", PASSWORD, "does not open"),
    "password of nothing": (GOOD.pem, "opener", PASSWORD, "is not encrypted"),
    "broken key": (
        lambda: GOOD.certificate_pem() + GOOD.key_pem()[:200] + "\n-----END PRIVATE KEY-----",
        "",
        CERTIFICATE,
        "its private key cannot be read",
    ),
    "broken certificate": (
        lambda: GOOD.key_pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        "",
        CERTIFICATE,
        "its certificate cannot be read",
    ),
    "broken PFX": (lambda: base64.b64encode(base64.b64decode(GOOD.pfx())[:400]).decode(), "", PASSWORD, "is not given"),
    "text": (lambda: "not a certificate", "", CERTIFICATE, "is neither PEM nor base64"),
    "base64 of text": (lambda: "bm90IGEgY2VydGlmaWNhdGU=", "", CERTIFICATE, "is neither PEM nor a PFX"),
    "a path": (lambda: "/etc/ssl/broker.pem", "", CERTIFICATE, "is neither PEM nor"),
    "too long": (lambda: GOOD.pem() * 50, "", CERTIFICATE, "characters long"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_entra_would_not_take(kind: str) -> None:
    """Each is refused by the name of its field, with what is wrong with it, and nothing of it in the text."""
    make, password, field, problem = REFUSED[kind]
    text = make()
    with pytest.raises(InvalidFieldError, match=problem) as caught:
        read_client_certificate(text, password)
    assert caught.value.field == field
    shown = str(caught.value)
    assert "PRIVATE" not in shown
    assert not any(line in shown for line in text.split() if len(line) > 40)
    assert not password or password not in shown


@given(text=st.text(max_size=200) | st.binary(max_size=200).map(lambda data: base64.b64encode(b"0" + data).decode()))
def test_garbage_is_refused(text: str) -> None:
    """Whatever is pasted, the answer is about the field, and nothing else goes wrong."""
    for given_text in (text, f"-----BEGIN PRIVATE KEY-----{text}-----BEGIN CERTIFICATE-----"):
        with pytest.raises(InvalidFieldError):
            read_client_certificate(given_text, "")


@pytest.mark.parametrize(
    ("secrets", "field"),
    [
        ({}, "client_secret"),
        ({"client_secret": "s", CERTIFICATE: GOOD.pem()}, CERTIFICATE),
        ({"client_secret": "s", PASSWORD: "p"}, PASSWORD),
        ({PASSWORD: "p"}, PASSWORD),
    ],
)
def test_one_of_the_two(secrets: dict[str, str], field: str) -> None:
    """A service principal proves itself by a secret or by a certificate: neither and both are refused."""
    with pytest.raises(InvalidFieldError) as caught:
        ServicePrincipal().parse(CONFIG, {name: Secret(value) for name, value in secrets.items()}, FAKE_PROFILE)
    assert caught.value.field == field


def test_vault_keeps_it_as_text() -> None:
    """What is stored is text, and comes back as the same credential; a document with a secret still does."""
    method = ServicePrincipal()
    _, value = method.parse(CONFIG, {CERTIFICATE: Secret(GOOD.pfx("opener")), PASSWORD: Secret("opener")}, FAKE_PROFILE)
    document = method.encode(value)
    assert all(isinstance(text, str) for text in document.values())
    assert "opener" not in repr(document)
    assert isinstance(value, ClientCertificate)
    assert method.decode({**document, "change": "x"}) == value
    assert method.decode({"client_secret": "s"}) == ClientSecret(Secret("s"))


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(days=31), ""),
        (timedelta(days=29, hours=1), "in 29 days"),
        (timedelta(days=7, seconds=-1), "in 7 days"),  # given as 7d just now
        (timedelta(days=1, hours=1), "in 1 day;"),
        (timedelta(hours=20), "within a day"),
        (timedelta(seconds=-1), "ended on"),
    ],
)
def test_an_end_that_is_near_is_told(left: timedelta, said: str) -> None:
    """Who looks after a connector hears a month ahead that its credential ends, and when."""
    now = datetime(2026, 11, 27, tzinfo=UTC)
    told = credential_warnings(now + left, now.timestamp())
    assert len(told) == (1 if said else 0)
    assert all(said in sentence for sentence in told)
    assert credential_warnings(None, now.timestamp()) == []


def test_the_earlier_end_counts() -> None:
    """A connector ends with its certificate, whatever later end its operator noted down."""
    value = read_client_certificate(GOOD.pem(), "")
    own = GOOD.certificate.not_valid_after_utc
    assert end_of(None, value) == end_of(own + timedelta(days=1), value) == own
    assert end_of(own - timedelta(days=1), value) == own - timedelta(days=1)
    assert end_of(None, ClientSecret(Secret("s"))) is None
