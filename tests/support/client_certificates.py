"""A CA for client certificates, such as a SPIFFE server is; nothing of it is worth keeping."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class ClientCa:
    """Signs client certificates; `pem` is what a server trusts."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        """The CA's certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        directory: Path,
        uri: str = "spiffe://example.org/trainer",
        *,
        password: bytes | None = None,
        ended: bool = False,
        hours: tuple[int, int] = (-2, 1),
        address: str = "",
        key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | None = None,
    ) -> tuple[Path, Path]:
        """Writes a certificate with one URI SAN and its key, and returns both paths.

        It counts from and to so many `hours` from now; `ended`: it has expired. With `address` it is a server's there.
        `key` left out is a new one, P-256.
        """
        usage = ExtendedKeyUsageOID.SERVER_AUTH if address else ExtendedKeyUsageOID.CLIENT_AUTH
        name: x509.GeneralName = (
            x509.IPAddress(ipaddress.ip_address(address)) if address else x509.UniformResourceIdentifier(uri)
        )
        key = key or ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder("client", self.certificate.subject, key.public_key(), (-2, -1) if ended else hours)
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        directory.mkdir(exist_ok=True)
        paths = directory / "client.pem", directory / "client.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        paths[1].write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
        return paths


def make_client_ca(name: str = "clients' CA") -> ClientCa:
    """Returns a new CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _builder(name, subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return ClientCa(key, certificate)


def _builder(
    name: str,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey,
    hours: tuple[int, int] = (-2, 1),
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(hours=hours[0]))
        .not_valid_after(now + dt.timedelta(hours=hours[1]))
    )
