"""Connectors that are what the broker itself is in Azure: each source against a stand-in, up to a blob on Azurite."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import ContainerClient

from support.azure_stack import CLIENT, CONTAINERS, ML, PLANTED, TENANT, AzureStack, make_connector
from support.entra_certificates import make_certificate, rsa_key
from support.stopwatch import ends_within
from valetkey_broker.adapters.azure import AzureCloud
from valetkey_broker.adapters.azure.auth_methods.implicit import NoSecret
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import (
    Connector,
    Container,
    Credential,
    ImplicitSource,
    Permission,
    PermissionSet,
    SasRequest,
    Scope,
)
from valetkey_devstack.control_plane import FederatedCredential

OWN = "demo-zenmlartifactstore"
CREDENTIAL = Credential(1, NoSecret())
ASSIGNED = "44444444-4444-4444-8444-444444444444"
ISSUER, SUBJECT = "https://cluster.invalid", "system:serviceaccount:ml:broker"
# All that azure-identity looks at; what a developer's machine has must not decide what a test proves.
VARIABLES = [
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "IDENTITY_SERVER_THUMBPRINT",
    "IMDS_ENDPOINT",
    "MSI_ENDPOINT",
    "MSI_SECRET",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "AZURE_AUTHORITY_HOST",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_FEDERATED_TOKEN_FILE",
]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def cloud(azure: AzureStack, request: pytest.FixtureRequest) -> AsyncIterator[AzureCloud]:
    """Allows every source, and asks a machine with identities; waits for it as long as a parameter says."""
    await azure.control_plane.managed_identities.start("127.0.0.1", 0)
    azure.control_plane.managed_identities.assigned.add(ASSIGNED)
    profile = replace(azure.profile, implicit_sources=tuple(ImplicitSource))
    patience = getattr(request, "param", 30.0)
    cloud = AzureCloud({"dev": profile}, connect_seconds=patience, read_seconds=patience)
    yield cloud
    await cloud.close()


def implicit(source: str, client_id: str = "", tenant_id: str = "") -> Connector:
    """Returns a connector as it is stored."""
    connector = make_connector(client_id=client_id, tenant_id=tenant_id)
    return replace(connector, auth_method="implicit", azure=replace(connector.azure, implicit_source=source))


def pod_token(key: Any = None, **claims: Any) -> str:
    """Returns what a cluster puts into the pod's file."""
    told = {"iss": ISSUER, "sub": SUBJECT, "aud": "api://AzureADTokenExchange", "exp": int(time.time()) + 600}
    return jwt.encode({**told, **claims}, key or rsa_key("cluster"), algorithm="RS256")


Prepare = Callable[[AzureStack, pytest.MonkeyPatch, Path], Connector]


def system_assigned(azure: AzureStack, environment: pytest.MonkeyPatch, _folder: Path) -> Connector:
    environment.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.control_plane.managed_identities.url)
    return implicit("managed-identity")


def user_assigned(azure: AzureStack, environment: pytest.MonkeyPatch, _folder: Path) -> Connector:
    environment.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.control_plane.managed_identities.url)
    return implicit("managed-identity", ASSIGNED)


def app_service(azure: AzureStack, environment: pytest.MonkeyPatch, _folder: Path) -> Connector:
    for name, value in azure.control_plane.managed_identities.environment.items():
        environment.setenv(name, value)
    return implicit("managed-identity", ASSIGNED)


def workload(azure: AzureStack, environment: pytest.MonkeyPatch, folder: Path) -> Connector:
    azure.control_plane.add_federated_credential(FederatedCredential(ISSUER, SUBJECT, rsa_key("cluster").public_key()))
    (folder / "token").write_text(pod_token())
    environment.setenv("AZURE_FEDERATED_TOKEN_FILE", str(folder / "token"))
    environment.setenv("AZURE_TENANT_ID", TENANT)
    environment.setenv("AZURE_CLIENT_ID", CLIENT)
    # Microsoft's webhook sets it, too; the profile's authority counts.
    environment.setenv("AZURE_AUTHORITY_HOST", "https://login.invalid/")
    return implicit("workload-identity")


def secret_of_the_environment(_azure: AzureStack, environment: pytest.MonkeyPatch, _folder: Path) -> Connector:
    environment.setenv("AZURE_TENANT_ID", TENANT)
    environment.setenv("AZURE_CLIENT_ID", CLIENT)
    environment.setenv("AZURE_CLIENT_SECRET", PLANTED.reveal())
    return implicit("environment")


def certificate_of_the_environment(azure: AzureStack, environment: pytest.MonkeyPatch, folder: Path) -> Connector:
    certificate = make_certificate()
    azure.control_plane.add_certificate(certificate.certificate)
    (folder / "broker.pem").write_text(certificate.pem("opener"))
    environment.setenv("AZURE_TENANT_ID", TENANT)
    environment.setenv("AZURE_CLIENT_ID", CLIENT)
    environment.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(folder / "broker.pem"))
    environment.setenv("AZURE_CLIENT_CERTIFICATE_PASSWORD", "opener")
    return implicit("environment")


@pytest.mark.parametrize(
    "prepare",
    [system_assigned, user_assigned, app_service, workload, secret_of_the_environment, certificate_of_the_environment],
)
async def test_each_source_moves_a_blob(
    azure: AzureStack, cloud: AzureCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prepare: Prepare
) -> None:
    """What the broker is somewhere logs in, finds accounts, and gets a key whose tokens move a blob."""
    connector = prepare(azure, monkeypatch, tmp_path)
    await cloud.log_in(connector, CREDENTIAL)
    assert (await cloud.find_accounts(connector, CREDENTIAL)).accounts == sorted(CONTAINERS)
    now = int(time.time())
    key = await cloud.signing_key(connector, CREDENTIAL, ML, starts=now - 900, expires=now + 3600)
    scope = Scope.of_container(Container(ML, OWN, azure.profile.container_url(ML, OWN)))
    permissions = PermissionSet((Permission.READ, Permission.CREATE, Permission.WRITE))
    request = SasRequest(azure.profile, scope, permissions, now - 60, now + 600, "", key)
    (token,) = cloud.sign(request, ["lease-1"])
    transport = AioHttpTransport(use_env_settings=False, connection_verify=azure.profile.ca_file)
    async with ContainerClient(
        azure.profile.blob_url(ML), OWN, credential=token.sas_token, transport=transport, retry_total=0
    ) as client:
        blob = await client.upload_blob(prepare.__name__, b"weights", overwrite=True)
        assert await (await blob.download_blob()).readall() == b"weights"


async def test_a_machine_is_asked_without_the_proxy(azure: AzureStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy that leads to Azure must not get to see a request that a machine's identity answers."""
    await azure.control_plane.managed_identities.start("127.0.0.1", 0)
    proxied = replace(azure.profile, proxy="http://127.0.0.1:9", implicit_sources=tuple(ImplicitSource))
    cloud = AzureCloud({"dev": proxied}, connect_seconds=30.0, read_seconds=30.0)
    await cloud.log_in(system_assigned(azure, monkeypatch, Path()), CREDENTIAL)
    await cloud.close()


async def test_a_managed_identity_is_nothing_else(
    azure: AzureStack, cloud: AzureCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a pod that has a workload identity besides, the managed identity is asked, and no token of the pod's sent."""
    workload(azure, monkeypatch, tmp_path)
    await cloud.log_in(system_assigned(azure, monkeypatch, tmp_path), CREDENTIAL)
    assert azure.control_plane.managed_identities.requests.total() == 1
    assert azure.control_plane.requests["token"] == 0


async def test_an_identity_that_is_not_assigned(
    azure: AzureStack, cloud: AzureCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the identity and how to assign it, wherever the broker runs."""
    machine = azure.control_plane.managed_identities
    machine.assigned.clear()
    connector = user_assigned(azure, monkeypatch, Path())
    for variables in ({}, machine.environment):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(BrokerError, match=f"{ASSIGNED}: where the broker runs, it is not assigned") as caught:
            await cloud.log_in(connector, CREDENTIAL)
        assert caught.value.reason is Reason.CLOUD_CREDENTIAL_REJECTED
        assert "az vm identity assign" not in caught.value.public().message


@pytest.mark.parametrize("cloud", [2.0], indirect=True, ids=["soon"])
async def test_a_managed_identity_that_is_not_there(cloud: AzureCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Away from Azure the answer comes soon, and says that, whether the address refuses or swallows what is sent."""

    async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for place in ("http://127.0.0.1:9", f"http://127.0.0.1:{port}"):
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", place)
        with ends_within(), pytest.raises(BrokerError, match="nothing answers where the broker runs") as caught:
            await cloud.log_in(implicit("managed-identity"), CREDENTIAL)
        assert caught.value.reason is Reason.CLOUD_UNAVAILABLE
    server.close()


async def test_a_renewed_token_file_counts_at_once(
    azure: AzureStack, cloud: AzureCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Kubernetes renews the pod's token long before ten minutes of the library's memory are over."""
    connector = workload(azure, monkeypatch, tmp_path)
    (tmp_path / "token").write_text(pod_token(exp=int(time.time()) - 1))
    with pytest.raises(BrokerError) as caught:
        await cloud.list_containers(connector, CREDENTIAL, ML)
    assert caught.value.metadata["azure_code"] == "AADSTS700024"
    await asyncio.sleep(1.1)  # How often the file is looked at, at most.
    (tmp_path / "token").write_text(pod_token())
    assert await cloud.list_containers(connector, CREDENTIAL, ML)


@pytest.mark.parametrize(
    ("source", "missing", "said"),
    [
        ("workload-identity", ["AZURE_FEDERATED_TOKEN_FILE"], "environment lacks AZURE_FEDERATED_TOKEN_FILE\\."),
        (
            "workload-identity",
            ["AZURE_TENANT_ID", "AZURE_CLIENT_ID"],
            "environment lacks AZURE_TENANT_ID, AZURE_CLIENT_ID\\.",
        ),
        ("environment", [], "lacks AZURE_CLIENT_SECRET, or AZURE_CLIENT_CERTIFICATE_PATH instead"),
    ],
)
async def test_what_is_missing_is_named(
    azure: AzureStack,
    cloud: AzureCloud,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    source: str,
    missing: list[str],
    said: str,
) -> None:
    """The error names the variables that the broker's environment lacks, and callers hear of none."""
    workload(azure, monkeypatch, tmp_path)
    for name in missing:
        monkeypatch.delenv(name)
    with pytest.raises(BrokerError, match=said) as caught:
        await cloud.log_in(implicit(source), CREDENTIAL)
    assert "AZURE_" not in caught.value.public().message


@pytest.mark.parametrize("source", ["workload-identity", "environment", "certificate"])
async def test_a_tenant_with_a_line_end(
    azure: AzureStack, cloud: AzureCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str
) -> None:
    """What secrets made of files often hold is told by the variable's name, and is no error of the broker's."""
    if source == "certificate":
        connector = certificate_of_the_environment(azure, monkeypatch, tmp_path)
    else:
        workload(azure, monkeypatch, tmp_path)
        monkeypatch.setenv("AZURE_CLIENT_SECRET", "PLANTED")
        connector = implicit(source)
    monkeypatch.setenv("AZURE_TENANT_ID", f"{TENANT}\n")
    with pytest.raises(BrokerError, match=r"AZURE_TENANT_ID is no tenant id; look for .* line ends") as caught:
        await cloud.log_in(connector, CREDENTIAL)
    assert "AZURE_" not in caught.value.public().message


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "AZURE_CLIENT_CERTIFICATE_PATH"), ("", "is neither PEM nor"), ("expired", "expired on")],
)
async def test_a_certificate_file_is_checked(
    azure: AzureStack,
    cloud: AzureCloud,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    content: str | None,
    said: str,
) -> None:
    """The environment's certificate is held to what one that is registered is held to."""
    connector = certificate_of_the_environment(azure, monkeypatch, tmp_path)
    file = tmp_path / "broker.pem"
    if content is None:
        file.unlink()
    else:
        file.write_text(make_certificate(days=(-9, -1)).pem("opener") if content else "")
    with pytest.raises(BrokerError, match=said) as caught:
        await cloud.log_in(connector, CREDENTIAL)
    assert caught.value.metadata["field"] == "azure.implicit_source"


async def test_a_source_that_is_no_longer_allowed(azure: AzureStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking a source out of the settings ends the connectors that use it: nothing is asked for them any more."""
    await azure.control_plane.managed_identities.start("127.0.0.1", 0)
    connector = system_assigned(azure, monkeypatch, Path())
    with pytest.raises(BrokerError, match=r"clouds\.dev\.implicit_sources") as caught:
        await azure.cloud.log_in(connector, CREDENTIAL)
    assert "implicit_sources" not in caught.value.public().message
    assert not azure.control_plane.managed_identities.requests
