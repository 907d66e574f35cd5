"""A whole broker inside the test's own event loop: real server, real TLS, fakes behind the ports."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from grpc_health.v1 import health_pb2, health_pb2_grpc

from support.fake_cloud import FAKE_PROFILE, FakeCloud
from support.fake_store import FakeStateStore
from support.ledgers import provide_tables
from valetkey.v1 import (
    api_key_service_pb2_grpc,
    connector_service_pb2,
    connector_service_pb2_grpc,
    credential_service_pb2_grpc,
    errors_pb2,
    expiry_service_pb2_grpc,
    grant_service_pb2,
    grant_service_pb2_grpc,
    ledger_service_pb2_grpc,
    resource_service_pb2_grpc,
    revocation_service_pb2_grpc,
    secret_service_pb2_grpc,
    token_service_pb2_grpc,
)
from valetkey_broker.app import Core, open_core
from valetkey_broker.metrics.http_server import OneWorker, metrics_port
from valetkey_broker.metrics.worker_channel import Answerer
from valetkey_broker.ports import Clock, Ledger
from valetkey_broker.rpc.server import RpcServer
from valetkey_broker.serving import running_server
from valetkey_broker.settings import Settings
from valetkey_devstack.ca import make_ca
from valetkey_devstack.free_ports import free_port

TENANT = "11111111-1111-4111-8111-111111111111"
CLIENT = "22222222-2222-4222-8222-222222222222"
SECRET = "PLANTED~client-secret.value"


def make_key(letter: str) -> str:
    """Returns a well-formed API key that is easy to recognise."""
    return "vk_" + letter * 43


ADMIN_KEY, OPERATOR_KEY, VIEWER_KEY, CONSUMER_KEY, AUDITOR_KEY = (make_key(letter) for letter in "AOVCU")
ALL_PERMISSIONS = (1, 2, 3, 4, 5, 6)


def make_settings(directory: Path, **sections: dict[str, Any]) -> Settings:
    """Returns settings whose files exist; `sections` override single values: `server={"grace_seconds": 1}`."""
    authority = make_ca(directory)
    certificate, key = authority.issue("broker", directory)
    for name in ("role_id", "secret_id"):
        (directory / name).write_text("unused")
    defaults: dict[str, dict[str, Any]] = {
        "server": {"port": free_port(), "tls_cert_file": certificate, "tls_key_file": key, "grace_seconds": 2},
        "vault": {
            "address": "https://vault.invalid",
            "role_id_file": directory / "role_id",
            "secret_id_file": directory / "secret_id",
            "poll_seconds": 0.05,
        },
        "clouds": {
            "dev": {
                "authority": FAKE_PROFILE.authority,
                "arm_endpoint": FAKE_PROFILE.arm_endpoint,
                "blob_endpoint": FAKE_PROFILE.blob_endpoint,
                "correlation_id": False,
            }
        },
        "issuing": {},
        "authn": {},
        "ledger": {"url": f"sqlite:///{directory / 'ledger.db'}"},
        "limits": {},
        "metrics": {},
    }
    provide_tables(directory / "ledger.db")
    merged: dict[str, Any] = {name: {**values, **sections.get(name, {})} for name, values in defaults.items()}
    return Settings(default_cloud="dev", **merged)


def api_key_document(key: str, *roles: str, expires: str = "2999-01-01T00:00:00+00:00") -> dict[str, Any]:
    """Returns an API key as Vault holds it."""
    return {
        "uid": "33333333-3333-4333-8333-333333333333",
        "sha256": hashlib.sha256(key.encode()).hexdigest(),
        "roles": list(roles),
        "expires_at": expires,
        "created_at": "2026-01-01T00:00:00+00:00",
        "created_by": "test",
    }


async def seed_keys(store: FakeStateStore) -> None:
    """Stores one key of each role, and `trainer`, a stack component's, which has none and lives by grants."""
    for name, key, *roles in (
        ("admin", ADMIN_KEY, "admin"),
        ("ops", OPERATOR_KEY, "operator"),
        ("eyes", VIEWER_KEY, "viewer"),
        ("auditor", AUDITOR_KEY, "auditor"),
        ("trainer", CONSUMER_KEY),
    ):
        await store.write(f"api-keys/{name}", api_key_document(key, *roles), expected=0)


@dataclass
class Broker:
    """A running broker and the stubs to call it with."""

    settings: Settings
    store: FakeStateStore
    cloud: FakeCloud
    core: Core
    server: RpcServer
    channel: grpc.aio.Channel
    endpoint: str
    ca: bytes

    def __post_init__(self) -> None:
        self.tokens = token_service_pb2_grpc.TokenServiceStub(self.channel)
        self.connectors = connector_service_pb2_grpc.ConnectorServiceStub(self.channel)
        self.resources = resource_service_pb2_grpc.ResourceServiceStub(self.channel)
        self.api_keys = api_key_service_pb2_grpc.ApiKeyServiceStub(self.channel)
        self.grants = grant_service_pb2_grpc.GrantServiceStub(self.channel)
        self.ledger = ledger_service_pb2_grpc.LedgerServiceStub(self.channel)
        self.credentials = credential_service_pb2_grpc.CredentialServiceStub(self.channel)
        self.revocations = revocation_service_pb2_grpc.RevocationServiceStub(self.channel)
        self.secrets = secret_service_pb2_grpc.SecretServiceStub(self.channel)
        self.expiry = expiry_service_pb2_grpc.ExpiryServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    async def allow(
        self,
        *principals: str,
        name: str = "training",
        connectors: Sequence[str] = ("azure-blob-demo",),
        containers: Sequence[str] = ("demo",),
        permissions: Sequence[int] = ALL_PERMISSIONS,
        **more: Any,
    ) -> grant_service_pb2.Grant:
        """Creates a grant as the admin, for `key:trainer` if nobody is named; `more` are further fields of it."""
        grant = grant_service_pb2.Grant(
            name=name,
            principals=principals or ("key:trainer",),
            connectors=[grant_service_pb2.GrantedConnector(name=connector) for connector in connectors],
            containers=containers,
            permissions=permissions,
            **more,
        )
        request = grant_service_pb2.CreateGrantRequest(grant=grant)
        return (await self.grants.CreateGrant(request, metadata=bearer(ADMIN_KEY))).grant

    async def healthy(self, service: str = "") -> bool:
        """Tells whether health says SERVING."""
        answer = await self.health.Check(health_pb2.HealthCheckRequest(service=service), wait_for_ready=True)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def ready(self, *, serving: bool = True, seconds: float = 60.0) -> None:
        """Waits until health says SERVING, or NOT_SERVING."""
        async with asyncio.timeout(seconds):
            while await self.healthy() is not serving:  # noqa: ASYNC110 (health is asked, as a prober does)
                await asyncio.sleep(0.01)


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    """Returns the metadata that carries an API key."""
    return (("authorization", f"Bearer {key}"),)


def new_connector(
    name: str = "azure-blob-demo", resource_id: str = "az://demo", *, authentication_secret: str = "", **azure: str
) -> Any:
    """Returns a request to register a connector: with a secret of its own, or with a named one."""
    if authentication_secret:
        return connector_service_pb2.CreateConnectorRequest(
            name=name,
            type=connector_service_pb2.CONNECTOR_TYPE_AZURE,
            resource_type=1,
            resource_id=resource_id,
            azure=connector_service_pb2.AzureConfig(**azure),
            authentication_secret=authentication_secret,
        )
    return connector_service_pb2.CreateConnectorRequest(
        name=name,
        type=connector_service_pb2.CONNECTOR_TYPE_AZURE,
        auth_method=connector_service_pb2.AUTH_METHOD_SERVICE_PRINCIPAL,
        resource_type=1,
        resource_id=resource_id,
        azure=connector_service_pb2.AzureConfig(**{"tenant_id": TENANT, "client_id": CLIENT, **azure}),
        azure_secret=connector_service_pb2.AzureSecret(client_secret=SECRET),
    )


def error_detail(error: grpc.aio.AioRpcError) -> errors_pb2.ErrorDetail:
    """Returns the ErrorDetail that a failed call carries. Fails where there is none."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            envelope = errors_pb2.ErrorStatus.FromString(value)
            assert envelope.code == error.code().value[0]
            packed: AnyMessage = envelope.details[0]
            detail = errors_pb2.ErrorDetail()
            assert packed.Unpack(detail)
            return detail
    raise AssertionError(f"no detail in {error.code()}: {error.details()}")


def _answerer(around: contextlib.AsyncExitStack, settings: Settings) -> Answerer | None:
    """Serves the port for metrics, where one is set, as the one process of `valetkey-broker serve` does."""
    if settings.metrics.port is None:
        return None
    alone = OneWorker()
    around.callback(alone.asker.close)
    around.enter_context(metrics_port(settings.metrics, alone))
    return Answerer(alone.asker.theirs)


@contextlib.asynccontextmanager
async def running_broker(
    directory: Path,
    *,
    store: FakeStateStore | None = None,
    cloud: FakeCloud | None = None,
    ledger: Ledger | None = None,
    clock: Clock | None = None,
    **sections: dict[str, Any],
) -> AsyncIterator[Broker]:
    """Runs a broker with one key of each role, and with the accounts `demoaccount` and `otheraccount`."""
    settings = make_settings(directory, **sections)
    if store is None:
        store = FakeStateStore()
        await seed_keys(store)
    cloud = cloud or FakeCloud({"demoaccount": ["demo", "models"], "otheraccount": ["models"]})
    extras: dict[str, Any] = {"clock": clock} if clock else {}
    async with (
        contextlib.AsyncExitStack() as around,
        open_core(settings, store=store, cloud=cloud, ledger=ledger, **extras) as core,
        running_server(settings, core, metrics=_answerer(around, settings)) as server,
    ):
        ca = (directory / "ca.pem").read_bytes()
        endpoint = f"127.0.0.1:{settings.server.port}"
        async with grpc.aio.secure_channel(endpoint, grpc.ssl_channel_credentials(ca)) as channel:
            broker = Broker(settings, store, cloud, core, server, channel, endpoint, ca)
            yield broker
