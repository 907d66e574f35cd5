"""The server's TLS: one port for all, and one that demands a client certificate.

gRPC for Python either does not ask for a client certificate or demands a good one; hence two ports (docs/adr/0005).
"""

from dataclasses import dataclass

import grpc

from valetkey_broker.authn.trust_bundles import Bundle, TrustBundles
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.rpc.server_certificate import CertificatePair, ServerCertificate
from valetkey_broker.settings import MtlsSettings, ServerSettings


@dataclass(frozen=True, slots=True)
class CertificatePort:
    """The port for client certificates, and whom to believe there."""

    port: int
    trust: TrustBundles


def certificate_port(settings: MtlsSettings | None, trust: TrustBundles | None) -> CertificatePort | None:
    """Returns the port for client certificates, None without one."""
    return CertificatePort(settings.port, trust) if settings is not None and trust is not None else None


def server_credentials(certificate: ServerCertificate) -> grpc.ServerCredentials:
    """Returns the TLS credentials of the main port; a renewed certificate counts from the next handshake on."""
    return _following(certificate, None)


def client_verifying_credentials(certificate: ServerCertificate, trust: TrustBundles) -> grpc.ServerCredentials:
    """Returns credentials that demand a client certificate of one of the CAs; what changed counts from the next
    handshake on.
    """
    return _following(certificate, trust)


def _following(certificate: ServerCertificate, trust: TrustBundles | None) -> grpc.ServerCredentials:
    in_use: tuple[CertificatePair, Bundle | None] | None = None

    def changed() -> grpc.ServerCertificateConfiguration | None:
        # Called by gRPC's own threads, before each handshake; None keeps what is in use.
        nonlocal in_use
        pair, bundle = certificate.current(), trust.current() if trust is not None else None
        if in_use is not None and in_use[0] is pair and in_use[1] is bundle:
            return None
        in_use = pair, bundle
        roots = bundle.pem if bundle is not None else None
        return grpc.ssl_server_certificate_configuration([(pair.key, pair.chain)], root_certificates=roots)

    # The stubs do not know what gRPC documents: None for "no change".
    return grpc.dynamic_ssl_server_credentials(changed(), changed, require_client_authentication=trust is not None)  # type: ignore[arg-type]


def address(settings: ServerSettings, port: int) -> str:
    """Returns host and port as gRPC and people write them."""
    return settings.model_copy(update={"port": port}).address


def cannot_listen(where: str, setting: str) -> ConfigurationError:
    """Returns what to tell an operator whose port cannot be had."""
    return ConfigurationError(
        f"cannot listen on {where}: the port is taken, perhaps by another valetkey-broker, or the host is not of this "
        f"machine; see server.host and {setting}"
    )
