"""What the servers of the bench and its load agree on: one connector, one caller, one request."""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from azure.storage.blob import UserDelegationKey
from google.protobuf.duration_pb2 import Duration

from bench.evidence import KEY, PRINCIPALS, authn_settings
from support.fake_store import FakeStateStore
from support.inproc import CLIENT, SECRET, TENANT, api_key_document
from valetkey.v1 import common_pb2, token_service_pb2
from valetkey_broker.adapters.azure import AzureCloud
from valetkey_broker.adapters.azure.sas import user_delegation_signer
from valetkey_broker.authz.grant_admin import GrantDraft
from valetkey_broker.connectors.connector_draft import NewConnector
from valetkey_broker.model import (
    BLOB_CONTAINER,
    AzureConfig,
    CloudProfile,
    Connector,
    ConnectorType,
    ConsumerRole,
    Container,
    Credential,
    GrantedConnector,
    Secret,
    SigningKey,
)
from valetkey_broker.settings import Settings

METHOD = "/valetkey.v1.TokenService/IssueToken"
ACCOUNT = "demoaccount"
CONTAINER = "demo-zenmlartifactstore"
CONNECTOR = "azure-blob-demo"
KEY_REQUESTS = "key-requests"
"""The file in a server's directory that has a byte for each."""

REQUEST = token_service_pb2.IssueTokenRequest(
    resource_id=f"az://{CONTAINER}",
    permissions=(common_pb2.PERMISSION_READ, common_pb2.PERMISSION_LIST),
    ttl=Duration(seconds=900),
)


class LocalKeyCloud(AzureCloud):
    """The real adapter, signing with a delegation key that was made up here: no Azure, the same arithmetic."""

    def __init__(self, profile: CloudProfile, *, notes: Path | None = None, seconds: float = 0.0) -> None:
        """Notes each request for a key with a byte in the file `notes`, and answers it after so many seconds."""
        super().__init__({profile.name: profile})
        self._notes = notes
        self._seconds = seconds
        self._url = profile.container_url(ACCOUNT, CONTAINER)

    async def log_in(self, connector: Connector, credential: Credential) -> None:
        pass

    async def list_containers(self, connector: Connector, credential: Credential, account: str) -> Sequence[Container]:
        return [Container(ACCOUNT, CONTAINER, self._url)]

    async def check_container(self, connector: Connector, credential: Credential, account: str, name: str) -> Container:
        return Container(ACCOUNT, CONTAINER, self._url)

    async def accepts(self, connector: Connector, container: Container, key: SigningKey) -> bool:
        return True

    async def signing_key(
        self, connector: Connector, credential: Credential, account: str, *, starts: float, expires: float
    ) -> SigningKey:
        if self._notes is not None:
            self._notes.write_bytes(b"." * (1 + (len(self._notes.read_bytes()) if self._notes.exists() else 0)))
        await asyncio.sleep(self._seconds)
        material = UserDelegationKey()  # type: ignore[no-untyped-call]
        material.signed_oid, material.signed_tid = CLIENT, TENANT
        material.signed_start, material.signed_expiry = _iso(starts), _iso(expires)
        material.signed_service, material.signed_version = "b", "2025-07-05"
        material.value = base64.b64encode(b"not a key of any account. 32 by.").decode()
        signer = user_delegation_signer(account, material)
        return SigningKey(account, float(int(starts)), float(int(expires)), signer)


# One caller makes all calls here; the limit on what one may have would be all that is measured.
_NO_LIMIT = {"issue_per_second": 1e6, "issue_burst": 1_000_000, "streams": 1_000_000}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server of the bench listens, and with what."""

    directory: Path
    port: int
    certificate: Path
    key: Path
    ledger: str = ""
    jwks_file: Path | None = None
    ca_file: Path | None = None
    certificate_port: int = 0
    metrics_port: int | None = None


def server_settings(place: Place) -> Settings:
    """Returns the broker's settings: its defaults, but for what it needs, and no limit on what one caller may have."""
    for name in ("role_id", "secret_id"):
        (place.directory / name).write_text("unused", encoding="ascii")
    known: dict[str, object] = {}
    if place.jwks_file is not None and place.ca_file is not None:
        known = authn_settings(place.jwks_file, place.ca_file, place.certificate_port)
    return Settings.model_validate(
        {
            "server": {
                "port": place.port,
                "tls_cert_file": place.certificate,
                "tls_key_file": place.key,
                "grace_seconds": 1,
                "max_calls": 1_000_000,
                "max_calls_per_connection": 1_000_000,
            },
            "vault": {
                "address": "https://vault.invalid",
                "role_id_file": place.directory / "role_id",
                "secret_id_file": place.directory / "secret_id",
            },
            "limits": _NO_LIMIT,
            "ledger": {"url": place.ledger or f"sqlite:///{place.directory / 'ledger.db'}"},
            "authn": known,
            "metrics": {"port": place.metrics_port},
        }
    )


async def filled_store() -> FakeStateStore:
    """Returns a store that holds the caller's key."""
    store = FakeStateStore()
    await store.write("api-keys/bench", api_key_document(KEY), expected=0)
    return store


def new_grant() -> GrantDraft:
    """Returns the grant that lets the callers have the container."""
    return GrantDraft(
        name="bench",
        principals=list(PRINCIPALS),
        attributes={},
        connectors=[GrantedConnector(CONNECTOR, "")],
        containers=[CONTAINER],
        prefixes=[],
        permissions=[],
        consumer_role=ConsumerRole.STEP_OPERATOR,
        max_ttl=None,
        source_ip="",
        expires_at=None,
        note="",
    )


def new_connector() -> NewConnector:
    """Returns the connector to register."""
    return NewConnector(
        name=CONNECTOR,
        type=ConnectorType.AZURE,
        auth_method="service-principal",
        resource_type=BLOB_CONTAINER,
        resource_id=f"az://{CONTAINER}",
        azure=AzureConfig(tenant_id=TENANT, client_id=CLIENT, cloud="", storage_account=ACCOUNT),
        secrets={"client_secret": Secret(SECRET)},
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
