"""The real Azurite and the stand-in for Azure's control plane, for tests of the Azure adapter.

A test module takes the fixtures with `from support.azure_stack import azure, azurite  # noqa: F401`.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from support.fault_proxy import FaultProxy
from valetkey_broker.adapters.azure import AzureCloud
from valetkey_broker.adapters.azure.auth_methods.account_key import AccountKey
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.adapters.azure.connection_string import AccountAndKey
from valetkey_broker.model import (
    BLOB_CONTAINER,
    AzureConfig,
    CloudProfile,
    Connector,
    ConnectorType,
    Credential,
    Secret,
)
from valetkey_devstack.azurite import Azurite, start_azurite
from valetkey_devstack.ca import CertificateAuthority, make_ca
from valetkey_devstack.control_plane import ControlPlane

TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = "22222222-2222-2222-2222-222222222222"
SUBSCRIPTION = "33333333-3333-3333-3333-333333333333"
ML, LOGS = "demomlstorage", "demologs"
CONTAINERS = {ML: ("demo-datasets", "demo-zenmlartifactstore"), LOGS: ("demo-logs",)}
# Recognisable, to be searched for in everything that comes out.
PLANTED = Secret("planted~client.secret_0123456789")


def make_connector(
    *,
    storage_account: str = "",
    subscription_id: str = "",
    resource_group: str = "",
    tenant_id: str = TENANT,
    client_id: str = CLIENT,
    cloud: str = "dev",
) -> Connector:
    """Returns a multi-instance connector with a uid of its own."""
    return Connector(
        name="azure-blob-demo",
        uid=str(uuid.uuid4()),
        type=ConnectorType.AZURE,
        auth_method="service-principal",
        resource_type=BLOB_CONTAINER,
        resource=None,
        azure=AzureConfig(tenant_id, client_id, cloud, storage_account, subscription_id, resource_group),
        credential_version=1,
        created_at=datetime.now(tz=UTC),
        created_by="test",
    )


def make_credential(secret: Secret = PLANTED, version: int = 1) -> Credential:
    """Returns a credential, the right one unless told otherwise."""
    return Credential(version, ClientSecret(secret))


def make_key_connector(auth_method: str = "account-key", account: str = ML) -> Connector:
    """Returns a connector with the key of one account."""
    azure = AzureConfig("", "", "dev", storage_account=account)
    return replace(make_connector(), auth_method=auth_method, azure=azure)


def make_key_credential(key: Secret, auth_method: str = "account-key", account: str = ML) -> Credential:
    """Returns the credential of such a connector."""
    return Credential(1, AccountKey(key) if auth_method == "account-key" else AccountAndKey(account, key))


@dataclass(frozen=True)
class RunningAzurite:
    """Azurite with its containers, and the authority that signed its certificate."""

    server: Azurite
    ca: CertificateAuthority


@dataclass(frozen=True)
class AzureStack:
    """All parts: `cloud` is the adapter, pointed at `proxy` before Azurite and at `control_plane`."""

    cloud: AzureCloud
    profile: CloudProfile
    control_plane: ControlPlane
    proxy: FaultProxy
    azurite: Azurite


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAzurite]:
    """Runs a real Azurite for all tests of this process; one that stops it starts it again."""
    directory = tmp_path_factory.mktemp("azurite")
    ca = make_ca(directory)

    async def start() -> Azurite:
        server = await start_azurite(directory / "data", ca, accounts=CONTAINERS)
        for account, names in CONTAINERS.items():
            await server.create_containers(account, names)
        return server

    server = asyncio.run(start())
    try:
        yield RunningAzurite(server, ca)
    finally:
        asyncio.run(server.stop())


@pytest.fixture
async def azure(azurite: RunningAzurite, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AzureStack]:
    """Runs a control plane, a fault proxy and the adapter for one test."""
    directory = tmp_path_factory.mktemp("control-plane")
    certificate, key = azurite.ca.issue("loopback", directory)
    control_plane = ControlPlane(TENANT, CLIENT, PLANTED, SUBSCRIPTION, CONTAINERS)
    target = f"https://127.0.0.1:{azurite.server.port}"
    async with FaultProxy(target, azurite.server.ca_file, certificate, key) as proxy:
        await control_plane.start("127.0.0.1", 0, certificate, key)
        profile = CloudProfile(
            name="dev",
            authority=control_plane.url,
            arm_endpoint=control_plane.url,
            graph_endpoint=control_plane.graph_url,
            blob_endpoint=f"{proxy.url}/{{account}}",
            ca_file=str(azurite.server.ca_file),
            correlation_id=False,
            emulator=True,
        )
        cloud = AzureCloud({"dev": profile}, connect_seconds=30.0, read_seconds=30.0)
        try:
            yield AzureStack(cloud, profile, control_plane, proxy, azurite.server)
        finally:
            await cloud.close()
            await control_plane.stop()


@asynccontextmanager
async def impatient(azure: AzureStack) -> AsyncIterator[AzureStack]:
    """Gives the stack with an adapter that waits for an answer for 2 s, for tests in which none comes.

    In all others a busy machine has the time that it takes.
    """
    cloud = AzureCloud({"dev": azure.profile}, connect_seconds=2.0, read_seconds=2.0)
    try:
        yield replace(azure, cloud=cloud)
    finally:
        await cloud.close()
