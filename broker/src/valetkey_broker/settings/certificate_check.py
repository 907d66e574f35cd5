"""Tells what is wrong with a certificate and its key before gRPC does, which keeps the reason to itself."""

import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from valetkey_broker.errors import ConfigurationError

_CURVES = {"secp256r1", "secp384r1"}


def check_certificate(certificate: Path, key: Path) -> None:
    """Raises ConfigurationError where the files, both PEM, cannot be read or used, or do not belong together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        certificate.read_bytes(), key.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: cannot be read: {error.strerror}") from None
    try:
        context.load_verify_locations(cafile=certificate)
    except ssl.SSLError:
        raise ConfigurationError(f"{certificate}: is not a certificate; expected PEM, the server's own first") from None
    try:
        # A password is never asked for: there is nobody to answer.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigurationError(f"{key}: does not belong to the certificate {certificate}") from None
        raise ConfigurationError(f"{key}: is not a private key; expected PEM without a passphrase") from None
    check_key_kind(str(certificate), x509.load_pem_x509_certificate(certificate.read_bytes()))


def check_key_kind(named: str, certificate: x509.Certificate) -> None:
    """Raises ConfigurationError where the certificate's key is one that no gRPC client takes.

    gRPC serves P-521 and Ed25519 all the same, and every connection ends in the handshake. Its TLS library takes
    signatures of no other keys than these (findings/grpc-takes-no-p521-and-no-ed25519-certificates.sh); the CA's key
    may be any.
    """
    key = certificate.public_key()
    if isinstance(key, RSAPublicKey) or (isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES):
        return
    raise ConfigurationError(f"{named}: has a key that no gRPC client connects to; expected RSA, P-256 or P-384")
