"""What can be rotated: a connector's own credential, and that of a named secret, for all connectors that use it."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from valetkey_broker.connectors.connector_admin import ConnectorAdmin
from valetkey_broker.connectors.connector_draft import secrets_in
from valetkey_broker.connectors.grant_redirection_check import RolesNow, check_redirection, still_may_redirect
from valetkey_broker.connectors.named_secret_admin import NamedSecretAdmin, SecretChange
from valetkey_broker.connectors.rotation_run import Recorded, switch_begun
from valetkey_broker.connectors.update_merge import ConnectorChange, changed
from valetkey_broker.errors import (
    BrokerError,
    connector_not_found,
    credential_given_is_in_use,
    credential_replaced_meanwhile,
    secret_not_found,
)
from valetkey_broker.model import (
    AzureConfig,
    Connector,
    CredentialOrigin,
    CredentialValue,
    NamedSecret,
    Rotation,
    Secret,
)
from valetkey_broker.ports import AuthMethod, Clock
from valetkey_broker.state.change_writer import Check
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository

# A new secret works on some of Entra's servers before it does on all: it has to work so many times in a row.
IN_A_ROW = 3
_BETWEEN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Rotated:
    """What both kinds of target work with."""

    repository: StateRepository
    memory: Memory
    connector_admin: ConnectorAdmin
    auth_methods: Mapping[str, AuthMethod]
    clock: Clock
    recorded: Recorded
    roles_now: RolesNow
    between_seconds: float = _BETWEEN_SECONDS

    def secrets(self, rotation: Rotation, value: CredentialValue) -> Mapping[str, Secret]:
        """Returns the secret fields of the new credential, as somebody would give them."""
        return secrets_in(self.auth_methods[rotation.way.auth_method], value)

    async def logs_in_steadily(self, connector: Connector, value: CredentialValue) -> None:
        """Logs in again, each time as if for the first time, where what signs comes from a log-in."""
        if not self.auth_methods[connector.auth_method].fetches_keys:
            return
        for _ in range(IN_A_ROW - 1):
            await asyncio.sleep(self.between_seconds)
            await self.connector_admin.try_log_in(
                replace(connector, uid=str(uuid.uuid4()), credential_version=0), value
            )

    def held(self, rotation: Rotation) -> Check:
        """Returns what keeps a switch from being made for a rotation that others have by now, or took back."""
        return partial(self.repository.rotations.check_held, rotation)

    def end_of(self, rotation: Rotation) -> datetime | None:
        """Returns when the new credential ends, as was said; what is over is not said again."""
        ends = rotation.way.expires_at
        return ends if ends is None or ends > self.now() else None

    def now(self) -> datetime:
        """Returns the time as documents have it."""
        return datetime.fromtimestamp(self.clock(), UTC)


@dataclass(frozen=True, slots=True)
class _ProvedConnector:
    after: Connector
    credential: CredentialValue


class ConnectorTarget:
    """A connector with a credential of its own."""

    def __init__(self, shared: Rotated) -> None:
        self._shared = shared

    async def switched(self, rotation: Rotation) -> int:
        """Returns the version that this rotation brought into use; see rotation_steps.Target."""
        await self._shared.repository.refresh()
        connector = self._there(rotation)
        if connector.origin is not None and connector.origin.rotation == rotation.id:
            return connector.credential_version
        if connector.credential_version != rotation.from_version or connector.secret_uid:
            raise credential_replaced_meanwhile(rotation.object)
        return 0

    async def prove(self, rotation: Rotation, value: CredentialValue) -> _ProvedConnector:
        """Verifies the connector as it is to be, with the new credential."""
        shared = self._shared
        await shared.repository.refresh()
        before = self._there(rotation)
        after, credential = await self._drafted(rotation, before, shared.secrets(rotation, value))
        self._check_grants(rotation, before, after)
        proved, _ = await shared.connector_admin.proved(after, credential)
        await shared.logs_in_steadily(proved, credential)
        await shared.repository.refresh()  # Asking the cloud takes a while, and grants are made meanwhile.
        self._check_grants(rotation, before, after)
        return _ProvedConnector(proved, credential)

    async def switch(self, rotation: Rotation, proved: _ProvedConnector) -> int:
        """Stores the credential as a new version, and the connector with it."""
        shared = self._shared
        self._check_grants(rotation, self._there(rotation), proved.after)
        origin = CredentialOrigin(shared.now(), rotation.started_by, rotation.id, rotation.taken_from)
        after, held = replace(proved.after, origin=origin), shared.held(rotation)
        stored = await shared.repository.update_connector(after, proved.credential, held)
        return stored.credential_version

    async def checked(self, rotation: Rotation, before: Connector, secrets: Mapping[str, Secret]) -> CredentialValue:
        """Returns what is given as a credential. Raises what can be known of a rotation before anybody is asked."""
        after, credential = await self._drafted(rotation, before, secrets)
        self._check_grants(rotation, before, after)
        return credential

    async def _drafted(
        self, rotation: Rotation, before: Connector, secrets: Mapping[str, Secret]
    ) -> tuple[Connector, CredentialValue]:
        """Returns the connector as it is to be. Raises InvalidFieldError, or INVALID_FIELD where nothing is new."""
        shared, way = self._shared, rotation.way
        change = ConnectorChange(
            name=before.name,
            auth_method=way.auth_method,
            azure=way.azure,
            secrets=secrets,
            expires_at=shared.end_of(rotation),
            remove=way.remove,
        )
        after, credential = changed(
            before,
            await self._in_use(before),
            change.checked(),
            shared=None,
            definitions=shared.connector_admin.definitions,
            auth_methods=shared.auth_methods,
            clock=shared.clock,
        )
        if credential is None:
            raise credential_given_is_in_use(rotation.object)
        return after, credential

    async def _in_use(self, connector: Connector) -> CredentialValue | None:
        try:
            return (await self._shared.repository.credential(connector)).value
        except BrokerError:
            return None  # A connector whose secret Vault lost gets another.

    def _check_grants(self, rotation: Rotation, before: Connector, after: Connector) -> None:
        shared, may = self._shared, still_may_redirect(rotation, self._shared.roles_now)
        check_redirection(shared.memory, before, after, shared.clock(), may_redirect=may)

    def _there(self, rotation: Rotation) -> Connector:
        connector = self._shared.memory.connectors.get(rotation.name)
        if connector is None or connector.uid != rotation.object_uid:
            raise connector_not_found(rotation.name)
        return connector


@dataclass(frozen=True, slots=True)
class _ProvedSecret:
    before: NamedSecret
    after: NamedSecret
    value: CredentialValue
    verified: Sequence[str]


class SecretTarget:
    """A named secret: proved with every connector that uses it, and brought into use for all of them at once."""

    def __init__(self, shared: Rotated, secrets: NamedSecretAdmin) -> None:
        self._shared = shared
        self._secrets = secrets

    async def switched(self, rotation: Rotation) -> int:
        """Returns the version that this rotation brought into use; see rotation_steps.Target."""
        await self._shared.repository.refresh()
        secret = self._there(rotation)
        if secret.rotation == rotation.id:
            return secret.credential_version
        if secret.credential_version != rotation.from_version:
            raise credential_replaced_meanwhile(rotation.object)
        return 0

    async def prove(self, rotation: Rotation, value: CredentialValue) -> _ProvedSecret:
        """Verifies every connector that uses the secret with the new value; without any, it logs in."""
        shared = self._shared
        await shared.repository.refresh()
        before = self._there(rotation)
        after, given = await self._drafted(rotation, before, shared.secrets(rotation, value))
        self._check_grants(rotation, after)
        verified, keys_revoked = await self._secrets.proved(after, given)
        for name in keys_revoked:
            drop = partial(shared.connector_admin.drop_signing_keys, name)
            await shared.recorded(switch_begun(rotation, f"connectors/{name}", shared.clock()), drop)
        users = [shared.memory.connectors[name] for name in verified if name in shared.memory.connectors]
        if users:
            await shared.logs_in_steadily(after.used_by(users[0]), given)
        await shared.repository.refresh()
        self._check_grants(rotation, after)
        return _ProvedSecret(before, after, given, verified)

    async def switch(self, rotation: Rotation, proved: _ProvedSecret) -> int:
        """Stores the value as a new version, for every connector that uses the secret."""
        self._check_grants(rotation, proved.after)
        after = replace(
            proved.after,
            rotation=rotation.id,
            taken_from=rotation.taken_from,
            updated_at=self._shared.now(),
            updated_by=rotation.started_by,
        )
        stored = await self._shared.repository.update_secret(
            proved.before, after, proved.value, verified=proved.verified, check=self._shared.held(rotation)
        )
        return stored.credential_version

    async def _drafted(
        self, rotation: Rotation, before: NamedSecret, secrets: Mapping[str, Secret]
    ) -> tuple[NamedSecret, CredentialValue]:
        """Returns the secret as it is to be. Raises InvalidFieldError, or INVALID_FIELD where nothing is new."""
        change = SecretChange(
            name=before.name,
            auth_method=rotation.way.auth_method,
            azure=AzureConfig(**{"tenant_id": "", "client_id": "", "cloud": "", **rotation.way.azure}),
            secrets=secrets,
            expires_at=self._shared.end_of(rotation),
            remove=rotation.way.remove,
        )
        after, given = await self._secrets.drafted(change, before, rotation.started_by)
        if after.auth_method == before.auth_method and given == await self._in_use(before):
            raise credential_given_is_in_use(rotation.object)
        return after, given

    async def checked(self, rotation: Rotation, before: NamedSecret, secrets: Mapping[str, Secret]) -> CredentialValue:
        """Returns what is given as a value. Raises what can be known of a rotation before anybody is asked."""
        after, given = await self._drafted(rotation, before, secrets)
        self._check_grants(rotation, after)
        return given

    async def _in_use(self, secret: NamedSecret) -> CredentialValue | None:
        try:
            return await self._shared.repository.secret_value(secret)
        except BrokerError:
            return None

    def _check_grants(self, rotation: Rotation, after: NamedSecret) -> None:
        may = still_may_redirect(rotation, self._shared.roles_now)
        self._secrets.check_grants(after, may_redirect=may)

    def _there(self, rotation: Rotation) -> NamedSecret:
        secret = self._shared.memory.secrets.get(rotation.name)
        if secret is None or secret.uid != rotation.object_uid:
            raise secret_not_found(rotation.name)
        return secret
