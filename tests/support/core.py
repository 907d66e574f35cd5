"""Domain values and a replica's state, made quickly for tests of the core."""

import uuid
from datetime import UTC, datetime

from broker.model import (
    ApiKey,
    AuthMethod,
    AzureConfig,
    CloudProfile,
    Connector,
    ConnectorType,
    Credential,
    Principal,
    ResourceId,
    ResourceType,
    Role,
    Secret,
    api_key_digest,
)
from broker.state.memory import Memory
from broker.state.repository import StateRepository
from support.fake_store import FakeStateStore

TENANT = "11111111-1111-4111-8111-111111111111"
CLIENT = "22222222-2222-4222-8222-222222222222"
PLANTED = "PLANTED~client-secret.value"
NOW = 1_800_000_000.0
# Hosts of the form that Azure has, so that full URLs of them can be parsed.
PROFILE = CloudProfile(
    name="dev",
    authority="https://login.dev.invalid",
    arm_endpoint="https://arm.dev.invalid",
    blob_endpoint="https://{account}.blob.dev.invalid",
)
OTHER_PROFILE = CloudProfile(
    name="elsewhere",
    authority="https://login.elsewhere.invalid",
    arm_endpoint="https://arm.elsewhere.invalid",
    blob_endpoint="https://{account}.blob.elsewhere.invalid",
)
PROFILES = {profile.name: profile for profile in (PROFILE, OTHER_PROFILE)}


class FakeClock:
    """Stands still at `now` (Unix seconds) until a test moves it."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def make_connector(
    name: str = "azure-blob-demo",
    resource: str = "",
    *,
    account: str | None = None,
    uid: str | None = None,
    version: int = 1,
    cloud: str = "dev",
    storage_account: str = "",
) -> Connector:
    """Returns a connector; with `resource` and `account` a single-instance one."""
    return Connector(
        name=name,
        uid=uid or str(uuid.uuid4()),
        type=ConnectorType.AZURE,
        auth_method=AuthMethod.SERVICE_PRINCIPAL,
        resource_type=ResourceType.BLOB_CONTAINER,
        resource=ResourceId(resource, account=account) if resource else None,
        azure=AzureConfig(tenant_id=TENANT, client_id=CLIENT, cloud=cloud, storage_account=storage_account),
        credential_version=version,
        created_at=datetime.fromtimestamp(NOW, UTC),
        created_by="key:ops",
    )


async def credential_of(connector: Connector) -> Credential:
    """Returns a credential for any connector, as the repository would."""
    return Credential(connector.credential_version, Secret(PLANTED))


def make_api_key(
    name: str = "trainer",
    letter: str = "T",
    *,
    roles: frozenset[Role] = frozenset({Role.CONSUMER}),
    connectors: frozenset[str] = frozenset({"azure-blob-demo"}),
    expires: float = NOW + 3600,
) -> ApiKey:
    """Returns an API key whose secret is `vk_` and 43 times `letter`."""
    digest = api_key_digest("vk_" + letter * 43)
    assert digest is not None
    return ApiKey(
        name=name,
        uid=str(uuid.uuid4()),
        digest=digest,
        roles=roles,
        connectors=connectors,
        expires_at=datetime.fromtimestamp(expires, UTC),
        created_at=datetime.fromtimestamp(NOW, UTC),
        created_by="key:admin",
    )


def principal(*roles: Role, connectors: tuple[str, ...] = (), name: str = "key:test") -> Principal:
    """Returns a principal with these roles."""
    return Principal(name, frozenset(roles), frozenset(connectors))


class Replica:
    """What one broker process knows: a repository with its memory, on a store that others may share."""

    def __init__(self, store: FakeStateStore | None = None) -> None:
        self.store = store or FakeStateStore()
        self.memory = Memory()
        self.gone: list[str] = []
        self.repository = StateRepository(self.store, self.memory, self._gone)

    async def _gone(self, uid: str) -> None:
        self.gone.append(uid)
