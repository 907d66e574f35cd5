"""Domain values and a replica's state, made quickly for tests of the core."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from support.fake_store import FakeStateStore
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.model import (
    BLOB_CONTAINER,
    ApiKey,
    AzureConfig,
    CallInfo,
    CloudProfile,
    Connector,
    ConnectorType,
    ContainerPattern,
    Credential,
    Evidence,
    Grant,
    GrantedConnector,
    NamedSecret,
    NewWay,
    Pattern,
    Permission,
    PermissionSet,
    Principal,
    ResourceId,
    Role,
    Rotation,
    RotationState,
    Secret,
    api_key_digest,
)
from valetkey_broker.state.change_writer import OnSettled
from valetkey_broker.state.intent import Intent
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository

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


async def no_news() -> None:
    """Catches up with nothing: memory is all there is."""


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
        auth_method="service-principal",
        resource_type=BLOB_CONTAINER,
        resource=ResourceId(resource, account=account) if resource else None,
        azure=AzureConfig(tenant_id=TENANT, client_id=CLIENT, cloud=cloud, storage_account=storage_account),
        credential_version=version,
        created_at=datetime.fromtimestamp(NOW, UTC),
        created_by="key:ops",
    )


def make_secret(name: str = "az_secret", *, uid: str | None = None, version: int = 0, account: str = "") -> NamedSecret:
    """Returns a named secret: a service principal's."""
    made = datetime.fromtimestamp(NOW, UTC)
    return NamedSecret(
        name=name,
        uid=uid or str(uuid.uuid4()),
        type=ConnectorType.AZURE,
        auth_method="service-principal",
        azure=AzureConfig(tenant_id=TENANT, client_id=CLIENT, cloud="dev", storage_account=account),
        secret_fields=("client_secret",),
        credential_version=version,
        created_at=made,
        created_by="key:ops",
        updated_at=made,
        updated_by="key:ops",
    )


def make_rotation(of: str, *, uid: str = "", source: str = "given") -> Rotation:
    """Returns a rotation of the object at `of` that begins: to another secret of a service principal."""
    begun = datetime.fromtimestamp(NOW, UTC)
    return Rotation(
        id=str(uuid.uuid4()),
        object=of,
        object_uid=uid,
        source=source,
        state=RotationState.PROVING,
        started_at=begun,
        started_by="key:ops",
        updated_at=begun,
        way=NewWay("service-principal"),
        from_version=1,
    )


def make_sharing_connector(secret: NamedSecret, name: str = "azure-blob-demo", *, uid: str | None = None) -> Connector:
    """Returns a connector that uses a named secret."""
    own = replace(make_connector(name, uid=uid, version=0), azure=AzureConfig("", "", ""), auth_method="")
    return secret.used_by(own)


async def credential_of(connector: Connector) -> Credential:
    """Returns a credential for any connector, as the repository would."""
    return Credential(connector.credential_version, ClientSecret(Secret(PLANTED)))


def make_api_key(
    name: str = "trainer",
    letter: str = "T",
    *,
    roles: frozenset[Role] = frozenset(),
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
        expires_at=datetime.fromtimestamp(expires, UTC),
        created_at=datetime.fromtimestamp(NOW, UTC),
        created_by="key:admin",
    )


def principal(
    *roles: Role, name: str = "key:test", attributes: Mapping[str, str] | None = None, expires: float = NOW + 3600
) -> Principal:
    """Returns a principal with these roles."""
    return Principal(name, frozenset(roles), Evidence.API_KEY, expires, attributes or {})


def call_info(caller: Principal | None = None) -> CallInfo:
    """Returns what a use case gets to know of a call."""
    return CallInfo("request-1", "/valetkey.v1.TokenService/IssueToken", caller or principal(), "203.0.113.200")


def make_grant(
    name: str = "training",
    *connectors: Connector,
    principals: Sequence[str] = ("key:test",),
    containers: Sequence[str] = ("demo",),
    permissions: str = "rl",
    prefixes: Sequence[str] = (),
    attributes: Mapping[str, str] | None = None,
    max_ttl: int | None = None,
    source_ip: str = "",
    expires: float | None = None,
    version: int = 0,
) -> Grant:
    """Returns a grant; `permissions` are letters of a SAS `sp` field."""
    return Grant(
        name=name,
        uid=str(uuid.uuid4()),
        principals=tuple(Pattern(text, "principals") for text in principals),
        attributes=tuple((key, Pattern(text, "attributes")) for key, text in (attributes or {}).items()),
        connectors=tuple(GrantedConnector(connector.name, connector.uid) for connector in connectors),
        containers=tuple(ContainerPattern(text, "containers") for text in containers),
        prefixes=tuple(prefixes),
        permissions=PermissionSet(Permission(letter) for letter in permissions),
        consumer_role=None,
        max_ttl=max_ttl,
        source_ip=source_ip,
        expires_at=datetime.fromtimestamp(expires, UTC) if expires is not None else None,
        note="",
        version=version,
        created_at=datetime.fromtimestamp(NOW, UTC),
        created_by="key:admin",
    )


class Replica:
    """What one broker process knows: a repository with its memory, on a store that others may share.

    It takes others for dead after `abandoned_seconds`; `settled` is what it finished or undid of them.
    """

    def __init__(
        self,
        store: FakeStateStore | None = None,
        *,
        abandoned_seconds: float = 1.0,
        also_settled: OnSettled | None = None,
    ) -> None:
        self.store = store or FakeStateStore()
        self._also_settled = also_settled
        self.memory = Memory()
        self.gone: list[str] = []
        self.settled: list[tuple[Intent, bool]] = []
        self.repository = StateRepository(
            self.store,
            self.memory,
            AUTH_METHODS,
            self._gone,
            on_settled=self._settled,
            abandoned_seconds=abandoned_seconds,
        )

    async def poll(self) -> None:
        """Does what a broker does at each poll."""
        await self.repository.refresh()
        await self.repository.settle_abandoned()

    async def _gone(self, uid: str) -> None:
        self.gone.append(uid)

    async def _settled(self, intent: Intent, made: bool) -> None:
        self.settled.append((intent, made))
        if self._also_settled is not None:
            await self._also_settled(intent, made)
