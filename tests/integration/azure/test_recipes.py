"""Recipes of CONTRIBUTING.md hold: an auth method is added by a module and a row, a resource type by two of each."""

import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import aiohttp
import pytest
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import ContainerClient

from support.azure_stack import CLIENT, ML, PLANTED, TENANT, AzureStack
from support.core import Replica
from support.fake_ledger import FakeLedger
from support.second_resource_type import SHELF, add_second_type
from valetkey.v1.common_pb2 import ResourceType
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.adapters.azure.auth_method import Access, SigningStorage
from valetkey_broker.adapters.azure.entra import STORAGE_SCOPE
from valetkey_broker.adapters.azure.error_advice import Identity
from valetkey_broker.adapters.azure.resource_types import AZURE_RESOURCE_TYPES
from valetkey_broker.adapters.azure.transport import Network
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.connector_admin import ConnectorAdmin
from valetkey_broker.connectors.connector_draft import NewConnector
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.model import (
    BLOB_CONTAINER,
    RESOURCE_TYPES,
    AzureConfig,
    CloudProfile,
    Connector,
    ConnectorType,
    Container,
    Credential,
    CredentialField,
    CredentialValue,
    Permission,
    PermissionSet,
    SasRequest,
    Scope,
    Secret,
    SigningKey,
)

OWN = "demo-zenmlartifactstore"


@dataclass(frozen=True, slots=True)
class _Token(CredentialValue):
    token: Secret = field(repr=False)


class _TokenAccess:
    """Shows storage one token, which it never renews: nothing to keep a connector on."""

    arm_credential = None

    def __init__(self, connector: Connector, credential: Credential) -> None:
        self._made_for = (connector.auth_method, credential.value)
        self._token = cast("_Token", credential.value).token

    @property
    def storage_credential(self) -> "_TokenAccess":
        return self

    def serves(self, connector: Connector, credential: Credential) -> bool:
        return self._made_for == (connector.auth_method, credential.value)

    async def prove(self) -> None: ...

    async def signing_key(self, storage: SigningStorage, starts: float, expires: float) -> SigningKey:
        return await storage.delegation_key(starts, expires)

    async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        return AccessToken(self._token.reveal(), int(time.time()) + 3600)


class _ByToken:
    """What one module in auth_methods/ holds."""

    name = "test-token"
    title = "Token"
    help = "A token that somebody else got."
    fetches_keys = True
    fields: Sequence[CredentialField] = (
        CredentialField("token", secret=True, required=True, help="The token.", example="@token.txt"),
    )

    def parse(
        self, config: AzureConfig, secrets: Mapping[str, Secret], profile: CloudProfile
    ) -> tuple[AzureConfig, CredentialValue]:
        return config, _Token(secrets["token"])

    def encode(self, value: CredentialValue) -> Mapping[str, str]:
        return {"token": cast("_Token", value).token.reveal()}

    def decode(self, document: Mapping[str, Any]) -> CredentialValue:
        return _Token(Secret(str(document["token"])))

    def identity(self, connector: Connector) -> Identity:
        return Identity("whoever the token is of")

    def access(self, connector: Connector, credential: Credential, profile: CloudProfile, network: Network) -> Access:
        return _TokenAccess(connector, credential)


async def _entra_token(azure: AzureStack) -> Secret:
    form = {
        "grant_type": "client_credentials",
        "client_id": CLIENT,
        "client_secret": PLANTED.reveal(),
        "scope": STORAGE_SCOPE,
    }
    trust = ssl.create_default_context(cafile=azure.profile.ca_file)
    async with aiohttp.ClientSession(trust_env=False) as session:
        url = f"{azure.control_plane.url}/{TENANT}/oauth2/v2.0/token"
        async with session.post(url, data=form, ssl=trust) as answer:
            return Secret((await answer.json())["access_token"])


def _request(azure: AzureStack, key: SigningKey, scope: Scope, now: int) -> SasRequest:
    permissions = PermissionSet((Permission.READ, Permission.CREATE, Permission.WRITE))
    return SasRequest(azure.profile, scope, permissions, now - 60, now + 600, "", key)


def _transport(azure: AzureStack) -> AioHttpTransport:
    return AioHttpTransport(use_env_settings=False, connection_verify=azure.profile.ca_file)


def _connector_admin(replica: Replica, azure: AzureStack) -> ConnectorAdmin:
    return ConnectorAdmin(
        repository=replica.repository,
        memory=replica.memory,
        cloud=azure.cloud,
        reach=ReachCache(CloudClient(azure.cloud, replica.repository.credential, 20), time.time, 300),
        auth_methods=AUTH_METHODS,
        signing_keys=lambda _connector: (),
        profiles={"dev": azure.profile},
        default_cloud="dev",
        clock=time.time,
        timeout_seconds=20,
        ledger=FakeLedger(),
    )


async def test_an_auth_method_is_a_module_and_a_row(azure: AzureStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that only this test has is registered, stored, loaded by another replica, and signs what storage takes."""
    monkeypatch.setitem(cast("dict[str, object]", AUTH_METHODS), _ByToken.name, _ByToken())
    token_of_entra = await _entra_token(azure)
    replica = Replica()
    connector_admin = _connector_admin(replica, azure)
    new = NewConnector(
        name="by-token",
        type=ConnectorType.AZURE,
        auth_method=_ByToken.name,
        resource_type=BLOB_CONTAINER,
        resource_id="",
        azure=AzureConfig(TENANT, CLIENT, "", storage_account=ML),
        secrets={"token": token_of_entra},
    )
    _, proof = await connector_admin.create(new, created_by="key:ops")
    assert [container.name for container in proof.reach.containers] == ["demo-datasets", OWN]

    other = Replica(replica.store)
    await other.repository.load()
    connector = other.memory.connectors["by-token"]
    credential = await other.repository.credential(connector)
    now = int(time.time())
    key = await azure.cloud.signing_key(connector, credential, ML, starts=now - 900, expires=now + 3600)
    scope = Scope.of_container(Container(ML, OWN, azure.profile.container_url(ML, OWN)))
    (token,) = azure.cloud.sign(_request(azure, key, scope, now), ["lease-1"])
    async with ContainerClient(
        azure.profile.blob_url(ML), OWN, credential=token.sas_token, transport=_transport(azure), retry_total=0
    ) as client:
        blob = await client.upload_blob("by-token", b"weights", overwrite=True)
        assert await (await blob.download_blob()).readall() == b"weights"
    assert token_of_entra.reveal() not in repr((connector, credential, key, token))


async def test_a_resource_type_is_a_row_in_each_table(azure: AzureStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that only this test has is found, proved and stored, and its tokens are what storage takes."""
    add_second_type(monkeypatch)
    replica = Replica()
    connector_admin = _connector_admin(replica, azure)
    new = NewConnector(
        name="every-type",
        type=ConnectorType.AZURE,
        auth_method="service-principal",
        resource_type=None,
        resource_id="",
        azure=AzureConfig(TENANT, CLIENT, ""),
        secrets={"client_secret": PLANTED},
    )
    _, proof = await connector_admin.create(new, created_by="key:ops")
    found = {container.resource_id for container in proof.reach.containers}
    assert found == {"az://demo-datasets", f"az://{OWN}", "az://demo-logs"} | {
        "shelf://demo-datasets",
        f"shelf://{OWN}",
        "shelf://demo-logs",
    }
    assert {check.outcome.name for check in proof.checks if check.step == "use a token"} == {"OK"}

    other = Replica(replica.store)
    await other.repository.load()
    connector = other.memory.connectors["every-type"]
    assert connector.resource_types == (BLOB_CONTAINER, SHELF)
    one = _connector_admin(other, azure).definitions.narrowed(connector, f"shelf://{OWN}")
    assert (one.resource_type, str(one.resource)) == (SHELF, f"shelf://{OWN}")
    credential = await other.repository.credential(connector)
    now = int(time.time())
    key = await azure.cloud.signing_key(connector, credential, ML, starts=now - 900, expires=now + 3600)
    shelf = await azure.cloud.check_container(connector.serving(SHELF), credential, ML, OWN)
    scope = Scope.of_container(shelf)
    assert (scope.resource_type, scope.resource_id) == (SHELF, f"shelf://{OWN}")
    assert await azure.cloud.accepts(connector, shelf, key)
    (token,) = azure.cloud.sign(_request(azure, key, scope, now), ["lease-1"])
    async with ContainerClient(
        azure.profile.blob_url(ML), OWN, credential=token.sas_token, transport=_transport(azure), retry_total=0
    ) as client:
        blob = await client.upload_blob("on-a-shelf", b"weights", overwrite=True)
        assert await (await blob.download_blob()).readall() == b"weights"


def test_both_tables_and_the_api_have_the_same_resource_types() -> None:
    """A row that is missing in one of them would be a type that can be asked for and not be given."""
    words = {name.removeprefix("RESOURCE_TYPE_").lower().replace("_", "-") for name in ResourceType.keys()[1:]}
    assert RESOURCE_TYPES.keys() == AZURE_RESOURCE_TYPES.keys() == words
    schemes = [each.scheme for each in RESOURCE_TYPES.values()]
    assert len(set(schemes)) == len(schemes)
    for name, each in RESOURCE_TYPES.items():
        assert each.name == name == AZURE_RESOURCE_TYPES[name].name
