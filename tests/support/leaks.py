"""Plants recognisable secrets, and looks for them in whatever came out."""

import base64
import hashlib
import urllib.parse
from collections.abc import Iterator, Mapping

from support.entra_certificates import make_certificate, rsa_key
from support.inproc import ADMIN_KEY, CONSUMER_KEY, OPERATOR_KEY, SECRET, VIEWER_KEY, make_key

NEW_KEY, WRONG_KEY, EXPIRED_KEY = (make_key(letter) for letter in "NWE")
ROLE_ID = "PLANTED-role-id-5c1f"
SECRET_ID = "PLANTED-secret-id-9e2d"
VAULT_TOKEN = "s.PLANTEDvaulttoken1234567890"
ACCOUNT_KEY = base64.b64encode(b"PLANTED-key-of-a-storage-account".ljust(64, b"~")).decode()
CERTIFICATE = make_certificate(rsa_key("planted"))
CERTIFICATE_PASSWORD = "PLANTED-certificate-password"

PLANTED: Mapping[str, str] = {
    "client secret": SECRET,
    # Each line of it is as good a proof as the whole, and the lines are what a file is cut into.
    "certificate key": CERTIFICATE.key_pem().split("\n")[10],
    "certificate password": CERTIFICATE_PASSWORD,
    "account key": ACCOUNT_KEY,
    "admin key": ADMIN_KEY,
    "operator key": OPERATOR_KEY,
    "viewer key": VIEWER_KEY,
    "consumer key": CONSUMER_KEY,
    "new key": NEW_KEY,
    "wrong key": WRONG_KEY,
    "expired key": EXPIRED_KEY,
    "role id": ROLE_ID,
    "secret id": SECRET_ID,
    "vault token": VAULT_TOKEN,
}
ALL_AT_ONCE = " ".join(PLANTED.values())
"""What the fakes put into the texts of their errors."""


def found_in(text: str | bytes, planted: Mapping[str, str] = PLANTED) -> set[str]:
    """Returns the names of the secrets that `text` holds in any of the forms in which they travel."""
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    lowered = raw.lower()
    return {
        name
        for name, secret in planted.items()
        if any(form in raw for form in _exact(secret)) or any(form in lowered for form in _any_case(secret))
    }


def _exact(secret: str) -> Iterator[bytes]:
    raw = secret.encode()
    yield raw
    yield raw[::-1]
    # Inside of a longer base64 text a secret looks different at each of three offsets; its ends are left out.
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + raw)[4 if offset else 0 : -4]
        yield coded
        yield coded.translate(bytes.maketrans(b"+/", b"-_"))


def _any_case(secret: str) -> Iterator[bytes]:
    raw = secret.encode()
    yield raw.lower()
    yield urllib.parse.quote(secret, safe="").lower().encode()
    yield raw.hex().encode()
    # Long enough a part of it is as good as the whole.
    yield raw[: max(16, len(raw) // 2)].lower()
    yield hashlib.sha256(raw).hexdigest().encode()
