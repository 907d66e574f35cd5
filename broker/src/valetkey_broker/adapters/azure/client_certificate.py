"""Client certificates of service principals: read from what an operator gives, and checked, which the SDK does not."""

import base64
import binascii
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from valetkey_broker.model import CredentialValue, InvalidFieldError, Secret

_FIELD = "client_certificate"
_PASSWORD = "client_certificate_password"  # noqa: S105 (the name of a field)
_EXPECTED = "a certificate with its private key: PEM, or a PFX file in base64"
_MOST_CHARACTERS = 96 * 1024
# https://learn.microsoft.com/entra/identity-platform/certificate-credentials
_LEAST_BITS = 2048
# How a PFX file begins (RFC 7292): a sequence whose first member is the version, 3.
_PFX = re.compile(rb"\x30(?:[\x00-\x80]|\x81.|\x82..|\x83...)\x02\x01\x03", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ClientCertificate(CredentialValue):
    """The certificate of a service principal and its key, which is not encrypted any more. Ends at `not_after`."""

    pem: Secret = field(repr=False)
    not_after: datetime

    @classmethod
    def of(cls, pem: str) -> Self:
        """Returns the certificate in what Vault keeps of one. Raises ValueError where there is none in it."""
        return cls(Secret(pem), x509.load_pem_x509_certificate(pem.encode("ascii")).not_valid_after_utc)

    @property
    def expires_at(self) -> datetime:
        """When the certificate ends."""
        return self.not_after


def read_client_certificate(given: str, password: str) -> ClientCertificate:
    """Returns what an operator gave, in one form: the key, and the one certificate that belongs to it.

    Raises InvalidFieldError for what Entra would not take, or what cannot be read.
    """
    if len(given) > _MOST_CHARACTERS:
        raise InvalidFieldError(_FIELD, f"is {len(given)} characters long", f"at most {_MOST_CHARACTERS}")
    key, certificates = _read_pem(given, password) if "-----BEGIN" in given else _read_pfx(given, password)
    if not isinstance(key, RSAPrivateKey):
        raise InvalidFieldError(_FIELD, "its key is not an RSA key", "an RSA key, the only kind that Entra takes")
    if key.key_size < _LEAST_BITS:
        raise InvalidFieldError(_FIELD, f"its key has {key.key_size} bits", f"an RSA key of {_LEAST_BITS} bits or more")
    public = key.public_key()
    own = next((each for each in certificates if _belongs(each, public)), None)
    if own is None:
        raise InvalidFieldError(
            _FIELD, "its private key does not belong to its certificate", "a certificate together with its own key"
        )
    _check_time(own)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + own.public_bytes(Encoding.PEM)
    return ClientCertificate.of(pem.decode("ascii"))


def _check_time(certificate: x509.Certificate) -> None:
    now = datetime.now(UTC)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if ends <= now:
        raise InvalidFieldError(_FIELD, f"expired on {ends:%Y-%m-%d %H:%M} UTC", "a certificate that is valid now")
    if begins > now:
        raise InvalidFieldError(
            _FIELD,
            f"is not valid before {begins:%Y-%m-%d %H:%M} UTC",
            "a certificate that is valid now, by the broker's clock",
        )


def _read_pem(given: str, password: str) -> tuple[Any, list[x509.Certificate]]:
    data = given.encode("utf-8")
    if "PRIVATE KEY-----" not in given:
        raise InvalidFieldError(_FIELD, "holds no private key", _EXPECTED)
    if "-----BEGIN CERTIFICATE-----" not in given:
        raise InvalidFieldError(_FIELD, "holds no certificate", _EXPECTED)
    encrypted = "ENCRYPTED" in given
    if encrypted and not password:
        raise _no_password()
    if password and not encrypted:
        raise InvalidFieldError(_PASSWORD, "is given, and the key is not encrypted", "no password for such a key")
    try:
        key = load_pem_private_key(data, password.encode("utf-8") or None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            raise _wrong_password() from None
        raise InvalidFieldError(_FIELD, "its private key cannot be read", _EXPECTED) from None
    try:
        return key, x509.load_pem_x509_certificates(data)
    except ValueError:
        raise InvalidFieldError(_FIELD, "its certificate cannot be read", _EXPECTED) from None


def _read_pfx(given: str, password: str) -> tuple[Any, list[x509.Certificate]]:
    try:
        data = base64.b64decode("".join(given.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidFieldError(_FIELD, "is neither PEM nor base64", _EXPECTED) from None
    if not _PFX.match(data):
        raise InvalidFieldError(_FIELD, "is neither PEM nor a PFX file", _EXPECTED)
    try:
        key, own, others = pkcs12.load_key_and_certificates(data, password.encode("utf-8") or None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if password:
            raise _wrong_password() from None
        raise _no_password() from None
    certificates = [each for each in (own, *others) if each is not None]
    if key is None:
        raise InvalidFieldError(_FIELD, "holds no private key", _EXPECTED)
    if not certificates:
        raise InvalidFieldError(_FIELD, "holds no certificate", _EXPECTED)
    return key, certificates


def _belongs(certificate: x509.Certificate, key: RSAPublicKey) -> bool:
    try:
        return certificate.public_key() == key
    except (ValueError, UnsupportedAlgorithm):  # A key of a kind that nobody here knows.
        return False


def _no_password() -> InvalidFieldError:
    problem = "is not given, and the certificate's key is encrypted"
    return InvalidFieldError(_PASSWORD, problem, "the password of the key")


def _wrong_password() -> InvalidFieldError:
    return InvalidFieldError(_PASSWORD, "does not open the certificate's key", "the password of the key")
