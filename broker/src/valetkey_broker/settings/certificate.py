"""Tells what is wrong with a certificate and its key before gRPC does, which keeps the reason to itself."""

import ssl
from pathlib import Path

from valetkey_broker.errors import ConfigurationError


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
