"""The gRPC server: TLS, health, reflection for callers with a key, the services, and its end."""

import asyncio
from collections.abc import Sequence

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as REFLECTION
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from valetkey_broker.rpc.guard import Guard
from valetkey_broker.rpc.health import Health
from valetkey_broker.rpc.reflection import Reflection
from valetkey_broker.rpc.server_certificate import ServerCertificate
from valetkey_broker.rpc.service import Service
from valetkey_broker.rpc.tls_credentials import (
    CertificatePort,
    address,
    cannot_listen,
    client_verifying_credentials,
    server_credentials,
)
from valetkey_broker.settings import ServerSettings

# What is refused after that is tried again on another connection: every client has been told to leave this one.
_GOAWAY_SECONDS = 0.05
_HANDSHAKE_MS = 10_000
_HEALTH = "grpc.health.v1.Health"


class RpcServer:
    """Serves until stopped: the services it is given, each call through `guard`.

    Health begins with NOT_SERVING and follows `set_serving`.

    With `certificates` all of it is served a second time, on a port that demands client certificates.
    """

    def __init__(
        self,
        settings: ServerSettings,
        guard: Guard,
        services: Sequence[Service],
        *,
        shared_port: bool,
        certificates: CertificatePort | None = None,
    ) -> None:
        self._settings = settings
        self._guard = guard
        self._certificates = certificates
        self._certificate: ServerCertificate | None = None
        self._server = grpc.aio.server(options=server_options(settings, shared_port=shared_port))
        self._health = Health()
        self._serving = False
        self._recording = True
        self._started = False
        self._stopping = False
        self._news: set[asyncio.Task[None]] = set()
        self._names = ("", *(service.name for service in services))
        names = (*self._names[1:], _HEALTH, REFLECTION)
        reflection = Reflection(names, settings.max_deadline_seconds)
        self._services = (
            *services,
            Service(_HEALTH, health_pb2_grpc.add_HealthServicer_to_server, self._health, end=self._health.end),
            Service(REFLECTION, add_ServerReflectionServicer_to_server, reflection),
        )
        for service in self._services:
            service.add(service.implementation, guard)  # To generated code the guard is the server.
        self._server.add_generic_rpc_handlers((guard,))

    async def start(self) -> None:
        """Binds and starts to serve. Raises ConfigurationError where the port is taken or the certificate is bad.

        Until then the port knows nothing of this server: whoever connects is another worker's.
        """
        await self._announce()
        self._certificate = ServerCertificate(self._settings)
        self._listen(self._settings.address, server_credentials(self._certificate), "server.port")
        if self._certificates is not None:
            credentials = client_verifying_credentials(self._certificate, self._certificates.trust)
            self._listen(address(self._settings, self._certificates.port), credentials, "authn.mtls.port")
        await self._server.start()
        self._started = True

    def _listen(self, where: str, credentials: grpc.ServerCredentials, setting: str) -> None:
        try:
            self._server.add_secure_port(where, credentials)
        except RuntimeError:
            raise cannot_listen(where, setting) from None

    def reread(self) -> None:
        """Looks at the server's own certificate now; it is looked at before handshakes anyway. Blocks for a moment."""
        if self._certificate is not None:
            self._certificate.current()

    @property
    def certificate(self) -> ServerCertificate | None:
        """The server's own certificate; None until it has started."""
        return self._certificate

    @property
    def serves(self) -> bool:
        """Whether requests can be answered, as health says it."""
        return self._serving and self._recording and not self._stopping

    def set_serving(self, serving: bool) -> None:
        """Tells health whether requests can be answered."""
        self._serving = serving
        self._announce_soon()

    def set_recording(self, recording: bool) -> None:
        """Tells health whether the ledger can be written; without it nothing is issued."""
        self._recording = recording
        self._announce_soon()

    def _announce_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self._announce())
        self._news.add(task)
        task.add_done_callback(self._news.discard)

    async def stop(self) -> None:
        """Says NOT_SERVING, takes no new calls, and lets those in flight finish within the grace period."""
        self._stopping = True
        if not self._started:
            return
        await self._announce()
        for service in self._services:
            service.end()
        await self._guard.drain.until_quiet()
        stopping = asyncio.get_running_loop().create_task(self._server.stop(self._settings.grace_seconds))
        await asyncio.sleep(_GOAWAY_SECONDS)
        self._guard.drain.release()
        await stopping

    async def _announce(self) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if self.serves else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            self._health.set(name, status)


def server_options(settings: ServerSettings, *, shared_port: bool) -> list[tuple[str, int]]:
    """Returns the channel arguments of the server."""
    return [
        # Workers share a port on purpose; a second start of the broker must not do so in silence.
        ("grpc.so_reuseport", int(shared_port)),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", 4 * 1024 * 1024),
        ("grpc.max_metadata_size", 16 * 1024),
        # So many calls at once on one connection; more wait on the client's side.
        ("grpc.max_concurrent_streams", settings.max_calls_per_connection),
        # Beyond that a connection is closed as soon as it is accepted.
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        # From the first byte, or none at all, to the first frame of HTTP/2.
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        # A connection that carries no call is given up before load balancers and NATs forget it in silence (Azure's
        # after 240 s); clients open another when they need one.
        ("grpc.max_connection_idle_ms", _milliseconds(settings.max_connection_idle_seconds)),
        # An old one as well, so that clients find new replicas; gRPC varies it by a tenth.
        ("grpc.max_connection_age_ms", _milliseconds(settings.max_connection_age_seconds)),
        ("grpc.max_connection_age_grace_ms", _milliseconds(settings.max_connection_age_grace_seconds)),
        # Peers that vanish are noticed; peers that ping too often are cut off. Clients may ping without calls.
        ("grpc.keepalive_time_ms", _milliseconds(settings.keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ]


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
