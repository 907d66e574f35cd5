"""The gRPC server: TLS, health, reflection for callers with a key, the services, and its end."""

import asyncio
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as REFLECTION
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from broker.authn.api_key import ApiKeyAuthenticator
from broker.authn.key_admin import ApiKeyAdmin
from broker.connectors.registry import ConnectorRegistry
from broker.errors import ConfigurationError
from broker.issuing.issuer import Issuer
from broker.rpc.api_key_service import ApiKeyService
from broker.rpc.connector_service import ConnectorService
from broker.rpc.guard import Guard
from broker.rpc.health import Health
from broker.rpc.reflection import Reflection
from broker.rpc.resource_service import ResourceService
from broker.rpc.token_service import TokenService
from broker.settings import ServerSettings
from broker.state.memory import Memory
from broker.state.sync import StateSync
from broker.tls import check_certificate
from valetkey.v1 import (
    api_key_service_pb2,
    api_key_service_pb2_grpc,
    connector_service_pb2,
    connector_service_pb2_grpc,
    resource_service_pb2,
    resource_service_pb2_grpc,
    token_service_pb2,
    token_service_pb2_grpc,
)

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (token_service_pb2, "TokenService"),
        (connector_service_pb2, "ConnectorService"),
        (resource_service_pb2, "ResourceService"),
        (api_key_service_pb2, "ApiKeyService"),
    )
)


@dataclass(frozen=True, slots=True)
class UseCases:
    """What the services call."""

    issuer: Issuer
    registry: ConnectorRegistry
    api_keys: ApiKeyAdmin
    authenticator: ApiKeyAuthenticator
    memory: Memory
    sync: StateSync


class RpcServer:
    """Serves until stopped. Health begins with NOT_SERVING and follows `set_serving`."""

    def __init__(self, settings: ServerSettings, use_cases: UseCases, *, shared_port: bool) -> None:
        self._settings = settings
        guard = Guard(
            authenticator=use_cases.authenticator,
            require_usable=use_cases.sync.require_usable,
            max_deadline_seconds=settings.max_deadline_seconds,
        )
        self._server = grpc.aio.server(options=server_options(settings, shared_port=shared_port))
        self._health = Health()
        self._serving = False
        self._stopping = False
        self._news: set[asyncio.Task[None]] = set()
        methods: Any = guard  # To generated code it is the server.
        token_service_pb2_grpc.add_TokenServiceServicer_to_server(TokenService(use_cases.issuer), methods)
        connector_service_pb2_grpc.add_ConnectorServiceServicer_to_server(ConnectorService(use_cases.registry), methods)
        resource_service_pb2_grpc.add_ResourceServiceServicer_to_server(
            ResourceService(use_cases.registry, use_cases.memory), methods
        )
        api_key_service_pb2_grpc.add_ApiKeyServiceServicer_to_server(ApiKeyService(use_cases.api_keys), methods)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, methods)
        names = (*SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, REFLECTION)
        add_ServerReflectionServicer_to_server(Reflection(names, settings.max_deadline_seconds), methods)
        self._server.add_generic_rpc_handlers((guard,))

    async def start(self) -> None:
        """Binds and starts to serve. Raises ConfigurationError where the port is taken or the certificate is bad."""
        await self._announce()
        address = self._settings.address
        credentials = server_credentials(self._settings)
        try:
            self._server.add_secure_port(address, credentials)
        except RuntimeError:
            raise ConfigurationError(
                f"cannot listen on {address}: the port is taken, perhaps by another valetkey-broker, or the host is "
                "not of this machine; see server.host and server.port"
            ) from None
        await self._server.start()

    def set_serving(self, serving: bool) -> None:
        """Tells health whether requests can be answered."""
        self._serving = serving
        task = asyncio.get_running_loop().create_task(self._announce())
        self._news.add(task)
        task.add_done_callback(self._news.discard)

    async def stop(self) -> None:
        """Says NOT_SERVING, takes no new calls, and lets those in flight finish within the grace period."""
        self._stopping = True
        await self._announce()
        self._health.end()
        await self._server.stop(self._settings.grace_seconds)

    async def _announce(self) -> None:
        serving = self._serving and not self._stopping
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", *SERVICES):
            self._health.set(service, status)


def server_options(settings: ServerSettings, *, shared_port: bool) -> list[tuple[str, int]]:
    """Returns the channel arguments of the server."""
    return [
        # Workers share a port on purpose; a second start of the broker must not do so in silence.
        ("grpc.so_reuseport", int(shared_port)),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", 4 * 1024 * 1024),
        ("grpc.max_metadata_size", 16 * 1024),
        # So many calls at once on one connection; more wait on the client's side.
        ("grpc.max_concurrent_streams", 1000),
        # A connection that carries no call is given up; clients open another when they need one.
        ("grpc.max_connection_idle_ms", 300_000),
        # Peers that vanish are noticed; peers that ping too often are cut off.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ]


def server_credentials(settings: ServerSettings) -> grpc.ServerCredentials:
    """Returns the server's TLS credentials. Raises ConfigurationError where certificate and key cannot be used."""
    check_certificate(settings.tls_cert_file, settings.tls_key_file)
    return grpc.ssl_server_credentials([(settings.tls_key_file.read_bytes(), settings.tls_cert_file.read_bytes())])
