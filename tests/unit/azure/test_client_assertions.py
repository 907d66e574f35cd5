"""The stand-in's Entra takes an assertion only where Entra would: known key, true signature, right claims and times."""

import base64
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes

from support.entra_certificates import make_certificate, rsa_key
from valetkey_devstack.control_plane import FederatedCredential
from valetkey_devstack.control_plane.client_assertions import ClientAssertions
from valetkey_devstack.control_plane.entra_error import EntraError

CLIENT = "22222222-2222-2222-2222-222222222222"
URL = "https://127.0.0.1:1/tenant/oauth2/v2.0/token"
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
OWN = make_certificate()
ISSUER, SUBJECT, EXCHANGE = "https://cluster.invalid", "system:serviceaccount:ml:broker", "api://AzureADTokenExchange"


@pytest.fixture
def assertions() -> ClientAssertions:
    known = ClientAssertions(CLIENT)
    known.add_certificate(OWN.certificate)
    known.add_federated(FederatedCredential(ISSUER, SUBJECT, rsa_key("cluster").public_key()))
    return known


def _thumbprint(certificate: Any, algorithm: hashes.HashAlgorithm) -> str:
    return base64.urlsafe_b64encode(certificate.fingerprint(algorithm)).decode()


def by_certificate(key: Any = None, *, algorithm: str = "PS256", header: Any = None, **claims: Any) -> str:
    """Returns an assertion as azure-identity signs it, but for what is changed."""
    now = int(time.time())
    sound = {"iss": CLIENT, "sub": CLIENT, "aud": URL, "nbf": now, "exp": now + 600, "jti": "1"}
    named = {"x5t#S256": _thumbprint(OWN.certificate, hashes.SHA256())} if header is None else header
    return jwt.encode({**sound, **claims}, key or OWN.key, algorithm=algorithm, headers=named)


def federated(key: Any = None, **claims: Any) -> str:
    """Returns a token of the cluster, but for what is changed."""
    sound = {"iss": ISSUER, "sub": SUBJECT, "aud": EXCHANGE, "exp": int(time.time()) + 600}
    return jwt.encode({**sound, **claims}, key or rsa_key("cluster"), algorithm="RS256")


def test_what_is_taken(assertions: ClientAssertions) -> None:
    """Both thumbprints, both algorithms, and a token of the federated issuer prove the application."""
    old = {"x5t": _thumbprint(OWN.certificate, hashes.SHA1())}  # noqa: S303 (a name of RFC 7515)
    for sound in (by_certificate(), by_certificate(algorithm="RS256", header=old), federated()):
        assertions.check({"client_assertion": sound, "client_assertion_type": TYPE}, URL)


# Made when they are used: their times are those of then.
REFUSED = {
    "no JWT": (lambda: "nonsense", 50027),
    "another key": (lambda: by_certificate(rsa_key("other")), 700027),
    "unknown thumbprint": (lambda: by_certificate(header={"x5t#S256": "AAAA"}), 700027),
    "no thumbprint": (lambda: by_certificate(header={"typ": "JWT"}), 700027),
    "no signature": (lambda: jwt.encode({"iss": CLIENT, "sub": CLIENT, "aud": URL}, "", algorithm="none"), 700027),
    "expired": (lambda: by_certificate(exp=int(time.time()) - 1), 700024),
    "not yet": (lambda: by_certificate(nbf=int(time.time()) + 600), 700024),
    "for another endpoint": (lambda: by_certificate(aud="https://elsewhere.invalid"), 700023),
    "of another application": (lambda: by_certificate(sub="another"), 700021),
    "unknown issuer": (lambda: federated(iss="https://elsewhere.invalid"), 700211),
    "unknown subject": (lambda: federated(sub="system:serviceaccount:ml:trainer"), 700213),
    "unknown audience": (lambda: federated(aud="https://elsewhere.invalid"), 700212),
    "forged token": (lambda: federated(rsa_key("other")), 700027),
    "old token": (lambda: federated(exp=int(time.time()) - 1), 700024),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(assertions: ClientAssertions, kind: str) -> None:
    """A test that logs in by an assertion proves something only if wrong ones do not get through."""
    assertion, code = REFUSED[kind]
    with pytest.raises(EntraError) as caught:
        assertions.check({"client_assertion": assertion(), "client_assertion_type": TYPE}, URL)
    assert caught.value.code == code
    with pytest.raises(EntraError):
        assertions.check({"client_assertion": by_certificate(), "client_assertion_type": "else"}, URL)


def test_certificates_end() -> None:
    """An uploaded certificate that has expired is refused, and one that was removed is not known."""
    ended = make_certificate(rsa_key("ended"), days=(-9, -1))
    assertions = ClientAssertions(CLIENT)
    assertions.add_certificate(ended.certificate)
    header = {"x5t#S256": _thumbprint(ended.certificate, hashes.SHA256())}
    form = {"client_assertion": by_certificate(ended.key, header=header), "client_assertion_type": TYPE}
    with pytest.raises(EntraError) as caught:
        assertions.check(form, URL)
    assert caught.value.code == 1000502
    assertions.remove_certificate(ended.certificate)
    with pytest.raises(EntraError) as caught:
        assertions.check(form, URL)
    assert caught.value.code == 700027
