"""A SPIFFE-shaped CA and the certificates it makes, good and bad."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DOMAIN = "example.org"
WORKLOAD = f"spiffe://{DOMAIN}/ns/ml/sa/trainer"
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Svid:
    """A workload's chain, leaf first, and its key; both PEM."""

    chain: bytes
    key: bytes
    leaf: x509.Certificate


class SpiffeCa:
    """Signs workloads' certificates, as SPIRE does: a C and an O in the subject, the id in the SAN."""

    def __init__(self, name: str = DOMAIN, parent: "SpiffeCa | None" = None, **overrides: Any) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._parent = parent
        signer = parent or self
        if parent is None:
            # A chain ends with its first part: not by chance with a root made a second before its leaf.
            overrides.setdefault("ends", dt.timedelta(hours=2))
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"CA of {name}")])
        builder = _builder(self._name, signer._name, self._key.public_key(), signer._key.public_key(), **overrides)
        self.certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .sign(signer._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """The CA's own certificate."""
        return _pem(self.certificate)

    def intermediate(self, name: str = "intermediate", **overrides: Any) -> Self:
        """Returns a CA below this one."""
        return type(self)(name, self, **overrides)

    def issue(
        self,
        uris: Sequence[str] = (WORKLOAD,),
        *,
        dns: Sequence[str] = (),
        purposes: Sequence[x509.ObjectIdentifier] | None = (SERVER, CLIENT),
        ca: bool | None = False,
        usage: Mapping[str, bool] | None = MappingProxyType({}),
        **overrides: Any,
    ) -> Svid:
        """Returns a certificate with its chain up to, not including, the root. `overrides` are `begins`, `ends`.

        `ca` None leaves the basic constraints out, `usage` None the key usage; it says what differs from the usual one.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [x509.NameAttribute(NameOID.COUNTRY_NAME, "US"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SPIRE")]
        )
        builder = _builder(subject, self._name, key.public_key(), self._key.public_key(), **overrides)
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        if usage is not None:
            builder = builder.add_extension(_usage(ca=bool(ca), **usage), critical=True)
        if purposes is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(purposes)), critical=False)
        names = [*map(x509.UniformResourceIdentifier, uris), *map(x509.DNSName, dns)]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        leaf = builder.sign(self._key, hashes.SHA256())
        chain, above = _pem(leaf), self
        while above._parent is not None:
            chain += above.pem
            above = above._parent
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Svid(chain, pem, leaf)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePublicKey,
    *,
    begins: dt.timedelta = dt.timedelta(hours=-1),
    ends: dt.timedelta = dt.timedelta(hours=1),
    now: dt.datetime | None = None,
) -> x509.CertificateBuilder:
    now = now or dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _usage(*, ca: bool, **changes: bool) -> x509.KeyUsage:
    usual = {
        "digital_signature": not ca,
        "key_cert_sign": ca,
        "crl_sign": ca,
        "content_commitment": False,
        "key_encipherment": False,
        "data_encipherment": False,
        "key_agreement": False,
        "encipher_only": False,
        "decipher_only": False,
    }
    return x509.KeyUsage(**{**usual, **changes})
