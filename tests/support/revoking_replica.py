"""A replica that revokes what an account's own key signed, on fakes."""

import asyncio

from support.core import CLIENT, PLANTED, PROFILES
from support.fake_ledger import FakeLedger
from support.fake_maker import FakeMaker
from support.fake_store import FakeStateStore
from support.rotating_replica import NAME, RotatingReplica, by_account_key
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.issuing.signing_keys import SigningKeys
from valetkey_broker.model import (
    Event,
    EventFilter,
    EventKind,
    Secret,
)
from valetkey_broker.model.revocation import LeaseState, Revocation, RevocationState
from valetkey_broker.ports.credential_maker import CredentialMaker
from valetkey_broker.revoking.revoker import Asked, Shown
from valetkey_broker.revoking.wiring import build_revoking

BY_KEY, OTHER = "by-key", "other-key"
TRAINER = Asked(principal="key:trainer")


class World(RotatingReplica):
    """A replica with a service principal that may make keys of the account one, and connectors that sign with them.

    With `beside` it is another process beside that one; it may see Vault, the ledger, or Azure in a way of its own.
    """

    def __init__(
        self,
        *,
        beat_seconds: float = 5.0,
        beside: "World | None" = None,
        store: FakeStateStore | None = None,
        ledger: FakeLedger | None = None,
        maker: CredentialMaker | None = None,
    ) -> None:
        self.storage_acts = True
        if beside is None:
            self.maker = FakeMaker(CLIENT, Secret(PLANTED), ["one"])
            super().__init__(maker=self.maker, beat_seconds=beat_seconds)
            self.cloud.secrets = {PLANTED, *(key.reveal() for key in self.maker.keys["one"].values())}
            self.maker.on_made = self._made
            self.maker.on_removed = self._removed
        else:
            self.maker = beside.maker
            there = store or beside.replica.store
            super().__init__(there, beside.cloud, ledger or beside.ledger, maker=maker or beside.maker)
        questions = CloudClient(self.cloud, self.repository.credential, 0.5)
        self.keys = keys = SigningKeys(
            questions=questions, clock=self.clock, key_seconds=3600, skew_seconds=900, auth_methods=AUTH_METHODS
        )
        self.revoking = build_revoking(
            self.parts,
            questions,
            keys,
            self.rotating,
            auth_methods=AUTH_METHODS,
            profiles=PROFILES,
            stale_seconds=60.0,
        )
        self.leases: dict[str, Event] = {} if beside is None else beside.leases

    def _made(self, value: Secret) -> None:
        assert self.cloud.secrets is not None
        self.cloud.secrets.add(value.reveal())

    def _removed(self, value: Secret) -> None:
        assert self.cloud.secrets is not None
        if self.storage_acts:
            self.cloud.secrets.discard(value.reveal())

    async def with_key(self, name: str = BY_KEY, key: str = "key1") -> None:
        new = by_account_key(name, "one", self.maker.keys["one"][key])
        await self.connector_admin.create(new, created_by="key:ops")

    async def issue(
        self,
        connector: str = BY_KEY,
        principal: str = "key:trainer",
        *,
        version: int = 0,
        account: str = "one",
        at: float = 0.0,
    ) -> str:
        """Puts a token of ten minutes on record, issued now or `at` another time; returns its id."""
        there = self.memory.connectors[connector]
        lease = Event(
            kind=EventKind.TOKEN_ISSUED,
            time=at or self.clock(),
            principal=principal,
            grant="training",
            connector=connector,
            connector_uid=there.uid,
            credential_version=version or there.credential_version,
            resource=f"https://{account}.blob.invalid/demo",
            expires=int(self.clock()) + 600,
            lease_id=f"lease-{len(self.leases)}",
        )
        await self.ledger.record(lease)
        self.leases[lease.lease_id] = lease
        return lease.lease_id

    def state(self, lease: str) -> LeaseState:
        return self.revoking.leases.of(self.leases[lease])[0]

    async def revoke(self, through: str = NAME, asked: Asked = TRAINER, name: str = "r-1") -> Shown:
        return await self.revoking.revoker.create(
            name, asked, reason="leaked", hard=True, through=through, created_by="key:ops"
        )

    @property
    def made(self) -> Revocation:
        return self.memory.revocations["r-1"]

    async def until(self, state: RevocationState, name: str = "r-1") -> None:
        """Has everything worked on until the revocation is that far."""

        def now() -> RevocationState:
            made = self.memory.revocations[name]
            return made.state(self.clock(), made.covered_until)

        async with asyncio.timeout(60):
            while now() is not state:
                await self.revoking.keys.look(at_once=True)
                await self.poll()
                await asyncio.sleep(0.005)

    async def events(self, kind: EventKind) -> list[Event]:
        return [stored.event for stored in await self.ledger.events(EventFilter(kind=kind))]
