"""The gRPC server: TLS, health, reflection for callers with a key, the services, and its end."""

import asyncio
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as REFLECTION
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from valetkey.v1 import (
    api_key_service_pb2,
    api_key_service_pb2_grpc,
    connector_service_pb2,
    connector_service_pb2_grpc,
    grant_service_pb2,
    grant_service_pb2_grpc,
    ledger_service_pb2,
    ledger_service_pb2_grpc,
    resource_service_pb2,
    resource_service_pb2_grpc,
    token_service_pb2,
    token_service_pb2_grpc,
)
from valetkey_broker.api.api_key_service import ApiKeyService
from valetkey_broker.api.connector_service import ConnectorService
from valetkey_broker.api.grant_service import GrantService
from valetkey_broker.api.ledger_service import LedgerService
from valetkey_broker.api.resource_service import ResourceService
from valetkey_broker.api.token_service import TokenService
from valetkey_broker.authn.api_key_admin import ApiKeyAdmin
from valetkey_broker.authz.explain import Explainer
from valetkey_broker.authz.grant_admin import GrantAdmin
from valetkey_broker.authz.policy import Policy
from valetkey_broker.connectors.registry import ConnectorRegistry
from valetkey_broker.issuing.issuer import Issuer
from valetkey_broker.issuing.watch import TokenWatcher
from valetkey_broker.limits import Slots, Throttle
from valetkey_broker.ports import Authenticator, Clock, Ledger
from valetkey_broker.rpc.call_recorder import Recorder
from valetkey_broker.rpc.guard import Guard
from valetkey_broker.rpc.health import Health
from valetkey_broker.rpc.reflection import Reflection
from valetkey_broker.rpc.tls_credentials import (
    CertificatePort,
    address,
    cannot_listen,
    client_verifying_credentials,
    server_credentials,
)
from valetkey_broker.settings import LimitsSettings, ServerSettings
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.sync import StateSync

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (token_service_pb2, "TokenService"),
        (connector_service_pb2, "ConnectorService"),
        (resource_service_pb2, "ResourceService"),
        (api_key_service_pb2, "ApiKeyService"),
        (grant_service_pb2, "GrantService"),
        (ledger_service_pb2, "LedgerService"),
    )
)


@dataclass(frozen=True, slots=True)
class UseCases:
    """What the services call."""

    issuer: Issuer
    registry: ConnectorRegistry
    api_keys: ApiKeyAdmin
    authenticator: Authenticator
    policy: Policy
    grants: GrantAdmin
    explainer: Explainer
    watcher: TokenWatcher
    ledger: Ledger
    recorder: Recorder
    limits: LimitsSettings
    throttle: Throttle
    memory: Memory
    sync: StateSync
    clock: Clock


class RpcServer:
    """Serves until stopped. Health begins with NOT_SERVING and follows `set_serving`.

    With `certificates` all of it is served a second time, on a port that demands client certificates.
    """

    def __init__(
        self,
        settings: ServerSettings,
        use_cases: UseCases,
        *,
        shared_port: bool,
        certificates: CertificatePort | None = None,
    ) -> None:
        self._settings = settings
        self._certificates = certificates
        guard = Guard(
            authenticator=use_cases.authenticator,
            require_usable=use_cases.sync.require_usable,
            max_deadline_seconds=settings.max_deadline_seconds,
            throttle=use_cases.throttle,
            recorder=use_cases.recorder,
        )
        self._watcher = use_cases.watcher
        self._server = grpc.aio.server(options=server_options(settings, shared_port=shared_port))
        self._health = Health()
        self._serving = False
        self._recording = True
        self._stopping = False
        self._news: set[asyncio.Task[None]] = set()
        methods: Any = guard  # To generated code it is the server.
        token_service_pb2_grpc.add_TokenServiceServicer_to_server(
            TokenService(use_cases.issuer, use_cases.watcher, Slots(use_cases.limits.streams)), methods
        )
        connector_service_pb2_grpc.add_ConnectorServiceServicer_to_server(ConnectorService(use_cases.registry), methods)
        resource_service_pb2_grpc.add_ResourceServiceServicer_to_server(
            ResourceService(use_cases.registry, use_cases.policy), methods
        )
        api_key_service_pb2_grpc.add_ApiKeyServiceServicer_to_server(ApiKeyService(use_cases.api_keys), methods)
        grant_service_pb2_grpc.add_GrantServiceServicer_to_server(
            GrantService(use_cases.grants, use_cases.explainer), methods
        )
        ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server(
            LedgerService(use_cases.ledger, use_cases.clock), methods
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, methods)
        names = (*SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, REFLECTION)
        add_ServerReflectionServicer_to_server(Reflection(names, settings.max_deadline_seconds), methods)
        self._server.add_generic_rpc_handlers((guard,))

    async def start(self) -> None:
        """Binds and starts to serve. Raises ConfigurationError where the port is taken or the certificate is bad."""
        await self._announce()
        self._listen(self._settings.address, server_credentials(self._settings), "server.port")
        if self._certificates is not None:
            credentials = client_verifying_credentials(self._settings, self._certificates.trust)
            self._listen(address(self._settings, self._certificates.port), credentials, "authn.mtls.port")
        await self._server.start()

    def _listen(self, where: str, credentials: grpc.ServerCredentials, setting: str) -> None:
        try:
            self._server.add_secure_port(where, credentials)
        except RuntimeError:
            raise cannot_listen(where, setting) from None

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
        await self._announce()
        self._watcher.stop()
        self._health.end()
        await self._server.stop(self._settings.grace_seconds)

    async def _announce(self) -> None:
        serving = self._serving and self._recording and not self._stopping
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
