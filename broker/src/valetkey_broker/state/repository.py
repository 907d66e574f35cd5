"""Writes what the broker keeps in Vault."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from valetkey_broker.concurrency.shielded_work import ShieldedWork, whole
from valetkey_broker.errors import (
    BrokerError,
    api_key_exists,
    api_key_not_found,
    changed_by_others,
    grant_exists,
    grant_not_found,
)
from valetkey_broker.model import ApiKey, Connector, Credential, CredentialValue, Grant, NamedSecret, RotationSchedule
from valetkey_broker.ports import AuthMethod, Document, StateStore
from valetkey_broker.state.api_key_rotation import ApiKeyWrites
from valetkey_broker.state.catching_up import CatchingUp
from valetkey_broker.state.change_kinds import BURY, PUT
from valetkey_broker.state.change_writer import Check, OnSettled, Plan, Writes
from valetkey_broker.state.codec import decode_api_key, decode_grant, encode_api_key, encode_grant, is_tombstone
from valetkey_broker.state.connector_writes import ConnectorWrites
from valetkey_broker.state.generation_document import Generation
from valetkey_broker.state.generation_document_writer import GenerationWriter
from valetkey_broker.state.intent import Intent
from valetkey_broker.state.intents_under_way import Intents
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.memory_loader import MemoryLoader
from valetkey_broker.state.memory_updates import API_KEYS, GRANTS, OnConnectorChanged
from valetkey_broker.state.named_secret_writes import Around, SecretWrites
from valetkey_broker.state.read_for_check_and_set import read_for_cas
from valetkey_broker.state.revocation_writes import RevocationWrites
from valetkey_broker.state.rotation_store import RotationStore
from valetkey_broker.state.undone_change_check import only_undone_since
from valetkey_broker.state.write_preconditions import read_live


class StateRepository(MemoryLoader):
    """The one writer of memory. Every write is check-and-set: of two operators one wins, the other is told.

    A deleted object leaves a tombstone: deleting is a check-and-set too. What its process leaves undone, any replica
    does `abandoned_seconds` after the last sign of life. All methods raise VAULT_UNAVAILABLE.
    """

    def __init__(
        self,
        store: StateStore,
        memory: Memory,
        auth_methods: Mapping[str, AuthMethod],
        on_connector_gone: Callable[[str], Awaitable[None]],
        *,
        on_connector_changed: OnConnectorChanged | None = None,
        on_settled: OnSettled | None = None,
        abandoned_seconds: float = 1.0,
    ) -> None:
        super().__init__(store, memory, auth_methods, on_connector_gone, on_connector_changed)
        self._memory = memory
        self._auth_methods = auth_methods
        self.background = ShieldedWork()
        self.catching_up = CatchingUp(self.refresh)
        self._journal = GenerationWriter(store)
        self._intents = Intents(self._journal, abandoned_seconds)
        self._writes = Writes(store, self._intents, self._reload, on_settled)
        self._connector_writes = ConnectorWrites(store, self._writes, self._announce_again)
        self._api_key_writes = ApiKeyWrites(store, self._writes, self._announce_again)
        around = Around(self._announce_again, self._users, self._connector_writes)
        self._secret_writes = SecretWrites(store, self._writes, around)
        self.rotations = RotationStore(store, memory, self._writes, self._guard)
        self.revocations = RevocationWrites(store, self._writes, self._announce_again, self.background)

    async def close(self) -> None:
        """Waits for the changes under way, callers or no callers. Never raises."""
        await self.background.close()
        await self.catching_up.close()
        await self._credentials.close()

    async def settle_abandoned(self) -> None:
        """Finishes or undoes the changes that nobody works on any more. What fails is tried again the next time."""
        await self._writes.settle_abandoned()

    async def being_changed(self) -> set[str]:
        """Returns the paths of the changes that are under way now, whoever makes them."""
        return (await self._journal.read()).being_changed()

    async def credentials_read(self) -> None:
        """Returns once no credential is being read ahead."""
        await self._credentials.settled()

    async def credential(self, connector: Connector) -> Credential:
        """Returns the credential in use by `connector`: from memory, or once from Vault. Raises also CONFLICT."""
        return await self._credentials.get(connector)

    @whole
    async def create_connector(self, draft: Connector, value: CredentialValue) -> Connector:
        """Stores a new connector and its secret. Raises CONNECTOR_EXISTS where the name is taken."""
        return await self._connector_writes.create(draft, self._auth_methods[draft.auth_method].encode(value))

    @whole
    async def update_connector(
        self, connector: Connector, value: CredentialValue | None, check: Check | None = None
    ) -> Connector:
        """Replaces the connector if it still has `connector.version`, with `value` its secret, too; returns it.

        Raises CONNECTOR_NOT_FOUND, CONFLICT where somebody else changed it, or what `check` raises, which is asked when
        nobody else can change it any more.
        """
        credential = self._auth_methods[connector.auth_method].encode(value) if value is not None else None
        return await self._connector_writes.update(connector, credential, check)

    @whole
    async def delete_connector(self, name: str, deleted_by: str) -> None:
        """Deletes a connector and destroys its secrets. Raises CONNECTOR_NOT_FOUND, or CONFLICT where it changed."""
        await self._connector_writes.delete(name, deleted_by)

    @whole
    async def drop_signing_keys(self, name: str, at: int) -> Connector:
        """Has every replica drop the signing keys that began before `at` (Unix seconds). Raises CONNECTOR_NOT_FOUND."""
        return await self._connector_writes.drop_signing_keys(name, at)

    @whole
    async def destroy_orphans(self, name: str, destroyed_by: str) -> None:
        """Destroys the secrets under a name that no connector has. Raises CONNECTOR_EXISTS where one has it by now."""
        await self._connector_writes.destroy_orphans(name, destroyed_by)

    @whole
    async def create_sharing_connector(self, draft: Connector) -> Connector:
        """Stores a new connector that uses a named secret. Raises CONNECTOR_EXISTS, SECRET_NOT_FOUND, or CONFLICT."""
        return await self._secret_writes.register(draft)

    @whole
    async def create_secret(self, draft: NamedSecret, value: CredentialValue) -> NamedSecret:
        """Stores a new named secret and its value. Raises SECRET_EXISTS where the name is taken."""
        return await self._secret_writes.create(draft, self._auth_methods[draft.auth_method].encode(value))

    @whole
    async def update_secret(
        self,
        before: NamedSecret,
        after: NamedSecret,
        value: CredentialValue,
        *,
        verified: Sequence[str] | None,
        check: Check | None = None,
    ) -> NamedSecret:
        """Gives a named secret another value; see SecretWrites and `update_connector`. Raises SECRET_NOT_FOUND."""
        encoded = self._auth_methods[after.auth_method].encode(value)
        return await self._secret_writes.update(before, after, encoded, verified, check)

    @whole
    async def schedule_secret(self, secret: NamedSecret, schedule: RotationSchedule | None) -> NamedSecret:
        """Notes how often a secret is rotated by itself. Raises SECRET_NOT_FOUND, or CONFLICT."""
        return await self._secret_writes.schedule(secret, schedule)

    @whole
    async def rename_secret(self, secret: NamedSecret, new_name: str, renamed_by: str) -> NamedSecret:
        """Gives a named secret another name; what uses it keeps it. See SecretWrites for what it raises."""
        return await self._secret_writes.rename(secret, new_name, renamed_by)

    @whole
    async def delete_secret(self, name: str, deleted_by: str) -> None:
        """Deletes a named secret for good. Raises SECRET_NOT_FOUND, or SECRET_IN_USE while connectors use it."""
        await self._secret_writes.delete(name, deleted_by)

    @whole
    async def create_api_key(self, key: ApiKey) -> ApiKey:
        """Stores a new API key and returns it. Raises API_KEY_EXISTS where the name is taken.

        The same key is there already where somebody repeats what was cut off: then that is returned.
        """

        def same(document: Document) -> ApiKey | None:
            there = decode_api_key(key.name, document.data)
            as_asked = replace(key, uid=there.uid, created_at=there.created_at, expires_at=there.expires_at)
            # Who repeats it reckons the end from now, and so asks for no less than there is.
            return there if there == as_asked and there.expires_at <= key.expires_at else None

        there, _ = await self._create(f"{API_KEYS}/{key.name}", encode_api_key(key), api_key_exists(key.name), same)
        return there or key

    @whole
    async def rotate_api_key(self, name: str, rotated: Callable[[ApiKey], ApiKey | None]) -> ApiKey:
        """Replaces an API key by what `rotated` makes of it; None where it is so already. Raises API_KEY_NOT_FOUND.

        Raises also CONFLICT where somebody else changed it meanwhile, and what `rotated` raises.
        """
        return await self._api_key_writes.rotate(name, rotated)

    @whole
    async def revoke_api_key(self, name: str, revoked_by: str) -> None:
        """Revokes an API key for good. Raises API_KEY_NOT_FOUND, or CONFLICT where it changed."""
        await self._bury(f"{API_KEYS}/{name}", revoked_by, api_key_not_found(name))

    @whole
    async def create_grant(self, grant: Grant) -> Grant:
        """Stores a new grant and returns it with its version. Raises GRANT_EXISTS where the name is taken.

        The same grant is there already where somebody repeats what was cut off: then that is returned.
        """

        def same(document: Document) -> Grant | None:
            there = decode_grant(grant.name, document.data, document.version)
            as_asked = replace(grant, uid=there.uid, version=there.version, created_at=there.created_at)
            return there if there == as_asked else None

        there, version = await self._create(
            f"{GRANTS}/{grant.name}", encode_grant(grant), grant_exists(grant.name), same
        )
        return there or replace(grant, version=version)

    @whole
    async def update_grant(self, grant: Grant) -> Grant:
        """Replaces the grant if it still has `grant.version`; returns it with the new one.

        Raises GRANT_NOT_FOUND, or CONFLICT where somebody else changed it.
        """
        path = f"{GRANTS}/{grant.name}"
        version = grant.version

        async def prepare() -> Plan:
            nonlocal version
            document = await read_live(self._store, path, self._announce_again, grant_not_found(grant.name))
            version = document.version
            if version != grant.version and not await only_undone_since(self._store, document, path, grant.version):
                await self._announce_again(path)
                raise changed_by_others(path)
            return self._put(path, encode_grant(grant), version)

        if not await self._writes.make(path, prepare):
            raise changed_by_others(path)
        return replace(grant, version=version + 1)

    @whole
    async def delete_grant(self, name: str, deleted_by: str) -> None:
        """Deletes a grant. Raises GRANT_NOT_FOUND, or CONFLICT where it changed."""
        await self._bury(f"{GRANTS}/{name}", deleted_by, grant_not_found(name))

    async def _create(
        self,
        path: str,
        data: Mapping[str, Any],
        taken: BrokerError,
        same: Callable[[Document], ApiKey | Grant | None],
    ) -> tuple[Any, int]:
        """Returns what `same` recognised as this very object, or None and the version that was written."""
        there: ApiKey | Grant | None = None
        version = 0

        async def prepare() -> Plan | None:
            nonlocal there, version
            document, expected = await read_for_cas(self._store, path)
            if document is not None and not is_tombstone(document.data):
                await self._announce_again(path)
                with contextlib.suppress(KeyError, TypeError, ValueError):  # Edited by hand: then it is another.
                    there = same(document)
                if there is None:
                    raise taken
                return None
            version = expected + 1
            return self._put(path, data, expected)

        if not await self._writes.make(path, prepare):
            raise taken
        return there, version

    def _put(self, path: str, data: Mapping[str, Any], expected: int) -> Plan:
        async def write(intent: Intent) -> None:
            await self._store.write(path, intent.stamped(data), expected=expected)

        return Plan(kind=PUT, expected=expected, first=write)

    async def _bury(self, path: str, by: str, unknown: BrokerError) -> None:
        async def prepare() -> Plan:
            document = await read_live(self._store, path, self._announce_again, unknown)
            return Plan(kind=BURY, expected=document.version, details={"document": {"deleted": True, "deleted_by": by}})

        if not await self._writes.make(path, prepare):
            raise changed_by_others(path)

    async def _users(self, uid: str) -> Sequence[str]:
        """Returns the connectors that use a named secret, as they are in Vault right now."""
        await self.refresh()
        return self._memory.named_secrets.users(uid)

    async def _announce_again(self, path: str) -> None:
        """Announces what is written already, but perhaps by hand, or by an earlier version that died before saying so.

        Without this, whoever tries a revocation again is told that it is done, while replicas still honour the key.
        """
        await self._reload([path])
        await self._journal.announce(path)

    def _observe(self, generation: Generation) -> None:
        self._intents.observe(generation)
