"""The server's TLS: one port for all, and one that demands a client certificate.

gRPC for Python either does not ask for a client certificate or demands a good one; hence two ports (docs/adr/0005).
"""

from dataclasses import dataclass

import grpc

from valetkey_broker.authn.trust_bundles import TrustBundles
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.settings import ServerSettings, check_certificate


@dataclass(frozen=True, slots=True)
class CertificatePort:
    """The port for client certificates, and whom to believe there."""

    port: int
    trust: TrustBundles


def server_credentials(settings: ServerSettings) -> grpc.ServerCredentials:
    """Returns the TLS credentials of the main port. Raises ConfigurationError where its files cannot be used."""
    check_certificate(settings.tls_cert_file, settings.tls_key_file)
    return grpc.ssl_server_credentials([_own(settings)])


def client_verifying_credentials(settings: ServerSettings, trust: TrustBundles) -> grpc.ServerCredentials:
    """Returns credentials that demand a client certificate of one of the CAs; changed CAs count from the next
    handshake on. Raises ConfigurationError where the server's own files cannot be used.
    """
    check_certificate(settings.tls_cert_file, settings.tls_key_file)
    own = _own(settings)
    in_use = trust.current()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        # Called by gRPC's own threads, before each handshake; None keeps what is in use.
        nonlocal in_use
        bundle = trust.current()
        if bundle is in_use:
            return None
        in_use = bundle
        return grpc.ssl_server_certificate_configuration([own], root_certificates=bundle.pem)

    first = grpc.ssl_server_certificate_configuration([own], root_certificates=in_use.pem)
    # The stubs do not know what gRPC documents: None for "no change".
    return grpc.dynamic_ssl_server_credentials(first, changed, require_client_authentication=True)  # type: ignore[arg-type]


def address(settings: ServerSettings, port: int) -> str:
    """Returns host and port as gRPC and people write them."""
    return settings.model_copy(update={"port": port}).address


def cannot_listen(where: str, setting: str) -> ConfigurationError:
    """Returns what to tell an operator whose port cannot be had."""
    return ConfigurationError(
        f"cannot listen on {where}: the port is taken, perhaps by another valetkey-broker, or the host is not of this "
        f"machine; see server.host and {setting}"
    )


def _own(settings: ServerSettings) -> tuple[bytes, bytes]:
    return settings.tls_key_file.read_bytes(), settings.tls_cert_file.read_bytes()
