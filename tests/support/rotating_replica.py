"""One broker process as far as rotations go: a replica of the state, a ConnectorAdmin, and what works on rotations."""

import asyncio

from support.core import (
    CLIENT,
    NOW,
    PLANTED,
    PROFILE,
    PROFILES,
    TENANT,
    FakeClock,
    Replica,
    make_api_key,
    principal,
)
from support.fake_cloud import FakeCloud
from support.fake_ledger import FakeLedger
from support.fake_maker import FakeMaker
from support.fake_store import FakeStateStore
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.authn.roles import RoleBindings, RolesNow
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.connector_admin import ConnectorAdmin
from valetkey_broker.connectors.connector_draft import NewConnector
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.connectors.rotation_admin import Wanted
from valetkey_broker.connectors.rotation_wiring import Parts, Rotating, build_rotating
from valetkey_broker.model import (
    BLOB_CONTAINER,
    AzureConfig,
    CallInfo,
    Connector,
    ConnectorType,
    CredentialValue,
    Pattern,
    Principal,
    Role,
    Rotation,
    Secret,
)
from valetkey_broker.model.principal import KEY_UID
from valetkey_broker.ports.credential_maker import CredentialMaker
from valetkey_broker.recording import Changes

NAME = "azure-blob-demo"
PATH = f"connectors/{NAME}"
NEW = "NEW~client-secret"
BOUND = "spiffe://example.org/admin"
"""The settings make it an admin."""
GIVEN = Wanted(secrets={"client_secret": Secret(NEW)}, prove_seconds=5)
OPERATOR, ADMIN = principal(Role.OPERATOR, name="key:ops"), principal(Role.ADMIN, name="key:admin")


def the_call(caller: Principal = OPERATOR) -> CallInfo:
    """Returns the call that begins a rotation."""
    return CallInfo("request-r", "/valetkey.v1.CredentialService/RotateCredential", caller, "203.0.113.7")


def by_account_key(name: str, account: str, key: Secret) -> NewConnector:
    """Returns a connector to be registered that signs with an account's key."""
    return NewConnector(
        name=name,
        type=ConnectorType.AZURE,
        auth_method="account-key",
        resource_type=BLOB_CONTAINER,
        resource_id="",
        azure=AzureConfig("", "", "", storage_account=account),
        secrets={"account_key": key},
    )


class RotatingReplica:
    """A replica that takes others for dead at once, on a cloud with the accounts one and two, and a ledger."""

    def __init__(
        self,
        store: FakeStateStore | None = None,
        cloud: FakeCloud | None = None,
        ledger: FakeLedger | None = None,
        *,
        abandoned_seconds: float = 0.0,
        beat_seconds: float = 5.0,
        maker: CredentialMaker | None = None,
    ) -> None:
        self.cloud = cloud or FakeCloud(
            {"one": ["demo", "models"], "two": ["demo"]}, profile=PROFILE, secrets=[PLANTED, NEW]
        )
        if maker is not None or cloud is None:
            self.cloud.maker = maker or FakeMaker(CLIENT, Secret(PLANTED))
        self.ledger = ledger or FakeLedger()
        self.clock = FakeClock(NOW)
        self.changes = Changes(self.ledger, self.clock)
        self.replica = Replica(store, abandoned_seconds=0.0, also_settled=self.changes.reconciled)
        self.memory, repository = self.replica.memory, self.replica.repository
        self.connector_admin = ConnectorAdmin(
            repository=repository,
            memory=self.memory,
            cloud=self.cloud,
            reach=ReachCache(CloudClient(self.cloud, repository.credential, 0.5), self.clock, 300),
            auth_methods=AUTH_METHODS,
            signing_keys=lambda _connector: (),
            profiles=PROFILES,
            default_cloud="dev",
            clock=self.clock,
            timeout_seconds=0.5,
            ledger=self.ledger,
        )
        self.repository = repository
        self.parts = Parts(
            repository=repository,
            memory=self.memory,
            connector_admin=self.connector_admin,
            cloud=self.cloud,
            ledger=self.ledger,
            clock=self.clock,
        )
        self.rotating: Rotating = build_rotating(
            self.parts,
            AUTH_METHODS,
            self.changes.make,
            RolesNow(self.memory, RoleBindings([(Role.ADMIN, [Pattern(BOUND, "principals")])]), self.clock).of,
            grace_seconds=0.0,
            settle_seconds=0.0,
            beat_seconds=beat_seconds,
            abandoned_seconds=abandoned_seconds,
            between_seconds=0.0,
            first_pause_seconds=0.01,
        )

        self.automatic = self.rotating.automatic

    async def begin(self, wanted: Wanted | None = None, *, of: str = PATH, caller: Principal = OPERATOR) -> Rotation:
        """Begins a rotation, to the secret NEW if nothing else is said."""
        return await self.rotating.rotations.rotate(of, wanted or GIVEN, the_call(caller))

    async def register(self, **azure: str) -> Connector:
        """Registers the connector that is rotated, with the secret PLANTED."""
        new = NewConnector(
            name=NAME,
            type=ConnectorType.AZURE,
            auth_method="service-principal",
            resource_type="blob-container",
            resource_id="",
            azure=AzureConfig(**{"tenant_id": TENANT, "client_id": CLIENT, "cloud": "", **azure}),
            secrets={"client_secret": Secret(PLANTED)},
        )
        return (await self.connector_admin.create(new, created_by="key:ops"))[0]

    async def admin(self) -> Principal:
        """Makes an API key of an admin, and returns its principal."""
        key = make_api_key("admin", roles=frozenset({Role.ADMIN}))
        await self.repository.create_api_key(key)
        return principal(Role.ADMIN, name="key:admin", attributes={KEY_UID: key.uid})

    async def poll(self) -> None:
        """Does what a broker does at each poll."""
        await self.replica.poll()
        await self.rotating.runner.look()

    async def ended(self, object_path: str = PATH) -> Rotation:
        """Returns the rotation once it is over, with this process polling."""
        async with asyncio.timeout(60):
            while True:
                rotation = await self.rotating.rotations.get(object_path)
                if rotation.state.ended:
                    return rotation
                await self.poll()
                await asyncio.sleep(0.005)

    async def in_use(self, name: str = NAME) -> CredentialValue:
        """Returns the credential that a connector is used with."""
        await self.replica.repository.refresh()
        return (await self.replica.repository.credential(self.memory.connectors[name])).value
