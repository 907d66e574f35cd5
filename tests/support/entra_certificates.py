"""Client certificates of service principals, as an operator would bring them."""

import base64
import datetime as dt
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from support.made_once import made_once


@made_once
def rsa_key(which: str = "own", bits: int = 2048) -> rsa.RSAPrivateKey:
    """Returns a key, the same one for the same name: they take long to make."""
    _ = which
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@dataclass(frozen=True)
class EntraCertificate:
    """A self-signed certificate and its key."""

    certificate: x509.Certificate
    key: Any

    def certificate_pem(self) -> str:
        """Returns the certificate alone."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def key_pem(self, password: str = "", form: PrivateFormat = PrivateFormat.PKCS8) -> str:
        """Returns the key alone, encrypted with `password` if there is one."""
        pem: bytes = self.key.private_bytes(Encoding.PEM, form, _encryption(password))
        return pem.decode()

    def pem(self, password: str = "") -> str:
        """Returns certificate and key, as `openssl req -x509` and `cat` make them."""
        return self.certificate_pem() + self.key_pem(password)

    def pfx(self, password: str = "", *, key: bool = True, certificate: bool = True) -> str:
        """Returns a PFX file in base64."""
        data = pkcs12.serialize_key_and_certificates(
            b"broker",
            self.key if key else None,
            self.certificate if certificate else None,
            None if key or certificate else [self.certificate],
            _encryption(password),
        )
        return base64.b64encode(data).decode()


def make_certificate(key: Any = None, *, days: tuple[float, float] = (-1, 365)) -> EntraCertificate:
    """Returns a certificate that is valid from and to so many `days` from now."""
    key = rsa_key() if key is None else key
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    begins, ends = (dt.datetime.now(dt.UTC) + dt.timedelta(days=each) for each in days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    return EntraCertificate(certificate, key)


def elliptic_key() -> ec.EllipticCurvePrivateKey:
    """Returns a key of the kind that Entra does not take."""
    return ec.generate_private_key(ec.SECP256R1())


def _encryption(password: str) -> KeySerializationEncryption:
    return BestAvailableEncryption(password.encode()) if password else NoEncryption()
