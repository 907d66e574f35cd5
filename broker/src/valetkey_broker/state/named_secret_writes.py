"""Writes named secrets in Vault, and the connectors that use them: no connector is left with a secret that is gone.

Every change here holds the path of the secret while it is made: what it looks at there stays as it is meanwhile.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from valetkey_broker.errors import (
    changed_by_others,
    secret_changed,
    secret_exists,
    secret_in_use,
    secret_not_found,
    secret_users_changed,
)
from valetkey_broker.model import Connector, CredentialOrigin, NamedSecret, PreviousWay, RotationSchedule, rotation_path
from valetkey_broker.ports import Document, StateStore
from valetkey_broker.state.change_kinds import (
    CREATE_SECRET,
    DELETE_SECRET,
    RENAME_SECRET,
    SHARE,
    UPDATE_SECRET,
    shared_credential_path,
)
from valetkey_broker.state.change_writer import Check, Plan, Writes
from valetkey_broker.state.codec import decode_schedule, encode_connector, encode_secret
from valetkey_broker.state.connector_writes import ConnectorWrites
from valetkey_broker.state.intent import Intent
from valetkey_broker.state.memory_updates import SECRETS
from valetkey_broker.state.unfinished_rotation import under_way, unfinished_rotation
from valetkey_broker.state.write_preconditions import Announce, read_live, version_of_free


@dataclass(frozen=True, slots=True)
class Around:
    """What SecretWrites needs of the rest of the state."""

    announce: Announce
    users: Callable[[str], Awaitable[Sequence[str]]]
    """Gives the names of the connectors that use the secret with a uid, everything taken over that is in Vault."""
    connectors: ConnectorWrites


class SecretWrites:
    """What StateRepository does for named secrets. All methods raise CONFLICT where it changed meanwhile."""

    def __init__(self, store: StateStore, writes: Writes, around: Around) -> None:
        self._store = store
        self._writes = writes
        self._around = around

    async def create(self, draft: NamedSecret, value: Mapping[str, str]) -> NamedSecret:
        """Stores a secret and its value. Raises SECRET_EXISTS."""
        secret = replace(draft, credential_version=1)
        credential_path = shared_credential_path(secret.uid)
        details = {"document": encode_secret(secret), "credential": 1, "credential_path": credential_path}

        async def write_value(intent: Intent) -> None:
            await self._store.write(credential_path, intent.stamped(value), expected=0)

        async def prepare() -> Plan:
            return Plan(kind=CREATE_SECRET, expected=await self._free(secret.name), first=write_value, details=details)

        if not await self._writes.make(_path(secret.name), prepare):
            await self._free(secret.name)
            raise changed_by_others(_path(secret.name))
        return secret

    async def update(
        self,
        before: NamedSecret,
        after: NamedSecret,
        value: Mapping[str, str],
        verified: Sequence[str] | None,
        check: Check | None = None,
    ) -> NamedSecret:
        """Gives a secret another value, and what goes with it. Raises SECRET_NOT_FOUND, or what `check` raises.

        `verified` are the connectors for which that was tried: none may have come to use it since. None: nobody cares.
        """
        path, credential_path = _path(before.name), shared_credential_path(before.uid)
        secret = after

        async def prepare() -> Plan:
            nonlocal secret
            document = await self._there(before.name)
            if document.data.get("uid") != before.uid or document.data.get("credential_version") != (
                before.credential_version
            ):
                await self._around.announce(path)
                raise secret_changed(before.name)
            version = await self._store.newest(credential_path) + 1
            origin = CredentialOrigin(before.updated_at, before.updated_by, before.rotation, before.taken_from)
            secret = replace(
                after,
                credential_version=version,
                previous_credential_version=before.credential_version,
                previous=PreviousWay(before.auth_method, before.azure, before.expires_at, origin),
                # As it is in Vault: somebody may have set it while the value was proved.
                rotation_schedule=decode_schedule(document.data.get("rotation_schedule")),
            )
            details = {
                "document": encode_secret(secret),
                "credential": version,
                "keep": before.credential_version,
                "credential_path": credential_path,
            }
            return Plan(kind=UPDATE_SECRET, expected=document.version, first=write_value, details=details)

        async def write_value(intent: Intent) -> None:
            if check is not None:
                await check()
            if verified is not None and (others := set(await self._around.users(before.uid)).difference(verified)):
                raise secret_users_changed(before.name, sorted(others))
            await self._store.write(credential_path, intent.stamped(value), expected=secret.credential_version - 1)

        if not await self._writes.make(path, prepare):
            raise secret_changed(before.name)
        return secret

    async def schedule(self, secret: NamedSecret, schedule: RotationSchedule | None) -> NamedSecret:
        """Notes how often a secret is rotated by itself, and changes nothing else. Raises SECRET_NOT_FOUND."""
        path, scheduled = _path(secret.name), replace(secret, rotation_schedule=schedule)

        async def prepare() -> Plan:
            document = await self._there(secret.name)
            there = document.data.get("uid"), document.data.get("credential_version")
            if there != (secret.uid, secret.credential_version):
                await self._around.announce(path)
                raise secret_changed(secret.name)
            details = {"document": encode_secret(scheduled), "credential": 0, "keep": 0}
            return Plan(kind=UPDATE_SECRET, expected=document.version, details=details)

        if not await self._writes.make(path, prepare):
            raise secret_changed(secret.name)
        return scheduled

    async def rename(self, secret: NamedSecret, new_name: str, renamed_by: str) -> NamedSecret:
        """Gives a secret another name. Raises SECRET_NOT_FOUND, SECRET_EXISTS, or ROTATION_UNDER_WAY."""
        old_path, path = _path(secret.name), _path(new_name)
        renamed = replace(secret, name=new_name)
        old = 0

        async def prepare() -> Plan:
            nonlocal old
            document = await self._there(secret.name)
            if document.data.get("uid") != secret.uid:
                await self._around.announce(old_path)
                raise secret_changed(secret.name)
            old = document.version
            tombstone = {"deleted": True, "deleted_by": renamed_by, "renamed_to": new_name}
            # As it is in Vault: memory may be a version behind.
            details = {"document": dict(document.data), "old": old, "tombstone": tombstone}
            return Plan(
                kind=RENAME_SECRET,
                expected=await self._free(new_name),
                first=as_it_was,
                details=details,
                # A rotation goes by the name: none may begin meanwhile.
                also=(old_path, rotation_path(old_path)),
            )

        async def as_it_was(_intent: Intent) -> None:
            if await self._store.newest(old_path) != old:
                raise secret_changed(secret.name)
            if (there := await unfinished_rotation(self._store, old_path, secret.uid)) is not None:
                raise under_way(there)

        if not await self._writes.make(path, prepare):
            await self._free(new_name)
            raise secret_changed(secret.name)
        return renamed

    async def delete(self, name: str, deleted_by: str) -> None:
        """Deletes a secret and destroys its value. Raises SECRET_NOT_FOUND, or SECRET_IN_USE while it is used."""

        async def prepare() -> Plan:
            document = await self._there(name)
            uid = str(document.data.get("uid"))

            async def unused(_intent: Intent) -> None:
                if users := await self._around.users(uid):
                    raise secret_in_use(name, users)

            credential_path = shared_credential_path(uid)
            details = {
                "document": {"deleted": True, "deleted_by": deleted_by},
                "credential": await self._store.newest(credential_path),
                "credential_path": credential_path,
            }
            return Plan(kind=DELETE_SECRET, expected=document.version, first=unused, details=details)

        if not await self._writes.make(_path(name), prepare):
            raise secret_changed(name)

    async def register(self, draft: Connector) -> Connector:
        """Stores a connector that uses a named secret. Raises CONNECTOR_EXISTS or SECRET_NOT_FOUND."""
        path = f"connectors/{draft.name}"
        connector = draft
        # The very secret that it was verified with, and not a later one.
        wanted = (draft.secret_uid, draft.credential_version)

        async def prepare() -> Plan:
            nonlocal connector
            expected = await self._around.connectors.free(draft.name)
            connector = replace(draft, version=expected + 1)
            details = {"document": encode_connector(draft), "shared": draft.credential_version}
            return Plan(kind=SHARE, expected=expected, first=there, details=details, also=(_path(draft.secret),))

        async def there(_intent: Intent) -> None:
            secret = await self._there(draft.secret)
            if (secret.data.get("uid"), secret.data.get("credential_version")) != wanted:
                await self._around.announce(_path(draft.secret))
                raise secret_changed(draft.secret)

        if not await self._writes.make(path, prepare):
            await self._around.connectors.free(draft.name)
            raise changed_by_others(path)
        return connector

    async def _there(self, name: str) -> Document:
        return await read_live(self._store, _path(name), self._around.announce, secret_not_found(name))

    async def _free(self, name: str) -> int:
        return await version_of_free(self._store, _path(name), self._around.announce, secret_exists(name))


def _path(name: str) -> str:
    return f"{SECRETS}/{name}"
