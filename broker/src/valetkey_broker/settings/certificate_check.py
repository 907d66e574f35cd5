"""Tells what is wrong with a certificate and its key before gRPC does, which keeps the reason to itself."""

import ssl
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from valetkey_broker.errors import ConfigurationError

# The AlgorithmIdentifier of what works, in DER (RFC 3279 and RFC 5480): rsaEncryption, and curves by their name. The
# same keys as RSASSA-PSS, or with the curve's parameters written out, are read here, and not by gRPC.
_RSA = bytes.fromhex("300d06092a864886f70d0101010500")
_CURVES = {
    "secp256r1": bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107"),
    "secp384r1": bytes.fromhex("301006072a8648ce3d020106052b81040022"),
}


def check_certificate(certificate: Path, key: Path) -> None:
    """Raises ConfigurationError where the files, both PEM, cannot be read or used, or do not belong together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        pem, _ = certificate.read_bytes(), key.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: cannot be read: {error.strerror}") from None
    try:
        context.load_verify_locations(cafile=certificate)
        leaf = x509.load_pem_x509_certificate(pem)
    except (ssl.SSLError, ValueError):
        raise ConfigurationError(f"{certificate}: is not a certificate; expected PEM, the server's own first") from None
    try:
        # A password is never asked for: there is nobody to answer.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigurationError(f"{key}: does not belong to the certificate {certificate}") from None
        raise ConfigurationError(f"{key}: is not a private key; expected PEM without a passphrase") from None
    check_key_kind(str(certificate), leaf)


def check_key_kind(named: str, certificate: x509.Certificate) -> None:
    """Raises ConfigurationError where the certificate's key is one that gRPC does not serve, or no client of it takes.

    gRPC serves P-521 and Ed25519 all the same, and every connection ends in the handshake. Its TLS library takes
    signatures of no other keys than these (findings/grpc-takes-no-p521-and-no-ed25519-certificates.sh); the CA's key
    may be any.
    """
    if (written := _as_grpc_reads_it(certificate)) is None or written not in certificate.tbs_certificate_bytes:
        raise ConfigurationError(
            f"{named}: has a key that no gRPC client connects to; expected RSA, P-256 or P-384, "
            "neither as RSASSA-PSS nor with explicit curve parameters"
        )


def _as_grpc_reads_it(certificate: x509.Certificate) -> bytes | None:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    if isinstance(key, EllipticCurvePublicKey):
        return _CURVES.get(key.curve.name)
    return _RSA if isinstance(key, RSAPublicKey) else None
