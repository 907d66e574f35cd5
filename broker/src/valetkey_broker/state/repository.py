"""Writes what the broker keeps in Vault."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from valetkey_broker.concurrency.background import whole
from valetkey_broker.errors import (
    BrokerError,
    api_key_exists,
    api_key_not_found,
    changed_by_others,
    connector_changed,
    credential_missing,
    grant_exists,
    grant_not_found,
)
from valetkey_broker.model import ApiKey, Connector, Credential, Grant, Secret
from valetkey_broker.ports import CasMismatchError, StateStore
from valetkey_broker.state.codec import encode_api_key, encode_grant, is_tombstone
from valetkey_broker.state.connector_writes import ConnectorWrites
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.mirror import API_KEYS, CONNECTORS, GRANTS, StateMirror
from valetkey_broker.state.read_for_cas import read_for_cas


class StateRepository(StateMirror):
    """The one writer of memory. Every write is check-and-set: of two operators one wins, the other is told.

    A deleted object leaves a tombstone under its name, so that deleting is a check-and-set too. All methods raise
    BrokerError with VAULT_UNAVAILABLE where Vault does not do its part.
    """

    def __init__(self, store: StateStore, memory: Memory, on_connector_gone: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(store, memory, on_connector_gone)
        self._connector_writes = ConnectorWrites(store, self.background, self._changed)

    async def close(self) -> None:
        """Waits for the changes under way, callers or no callers. Never raises."""
        await self.background.close()

    async def credential(self, connector: Connector) -> Credential:
        """Returns the credential in use by `connector`: from memory, or once from Vault."""
        known = self._credentials.get(connector.uid)
        if known is not None and known.version == connector.credential_version:
            return known
        document = await self._store.read(f"credentials/{connector.name}", connector.credential_version)
        if document is None:
            raise await self._without_credential(connector)
        credential = Credential(connector.credential_version, Secret(str(document.data["client_secret"])))
        if connector.name in self._memory.connectors:
            self._credentials[connector.uid] = credential
        return credential

    async def _without_credential(self, connector: Connector) -> BrokerError:
        """Says why: the connector changed, which memory has yet to hear of, or Vault lost what belongs to it."""
        there = await self._store.read(f"{CONNECTORS}/{connector.name}")
        if there is None or there.data.get("uid") != connector.uid:
            return connector_changed(connector.name)
        return credential_missing(connector.name, connector.credential_version)

    @whole
    async def create_connector(self, draft: Connector, client_secret: Secret) -> Connector:
        """Stores a new connector and its secret. Raises CONNECTOR_EXISTS where the name is taken."""
        return await self._connector_writes.create(draft, client_secret)

    @whole
    async def delete_connector(self, name: str, deleted_by: str) -> None:
        """Deletes a connector and destroys its secrets. Raises CONNECTOR_NOT_FOUND, or CONFLICT where it changed."""
        await self._connector_writes.delete(name, deleted_by)

    @whole
    async def create_api_key(self, key: ApiKey) -> None:
        """Stores a new API key. Raises API_KEY_EXISTS where the name is taken."""
        taken = api_key_exists(key.name)
        path = f"{API_KEYS}/{key.name}"
        expected = await self._version_to_replace(path, taken)
        try:
            await self._store.write(path, encode_api_key(key), expected=expected)
        except CasMismatchError:
            raise taken from None
        await self._changed(path)

    @whole
    async def revoke_api_key(self, name: str, revoked_by: str) -> None:
        """Revokes an API key for good. Raises API_KEY_NOT_FOUND, or CONFLICT where it changed."""
        path = f"{API_KEYS}/{name}"
        document = await self._store.read(path)
        if document is None or is_tombstone(document.data):
            if document is not None:
                await self._announce_again(path)
            raise api_key_not_found(name)
        await self._write_over(path, {"deleted": True, "deleted_by": revoked_by}, document.version)
        await self._changed(path)

    @whole
    async def create_grant(self, grant: Grant) -> Grant:
        """Stores a new grant and returns it with its version. Raises GRANT_EXISTS where the name is taken."""
        taken = grant_exists(grant.name)
        path = f"{GRANTS}/{grant.name}"
        expected = await self._version_to_replace(path, taken)
        try:
            version = await self._store.write(path, encode_grant(grant), expected=expected)
        except CasMismatchError:
            raise taken from None
        await self._changed(path)
        return replace(grant, version=version)

    @whole
    async def update_grant(self, grant: Grant) -> Grant:
        """Replaces the grant if it still has `grant.version`; returns it with the new one.

        Raises GRANT_NOT_FOUND, or CONFLICT where somebody else changed it.
        """
        path = f"{GRANTS}/{grant.name}"
        document = await self._store.read(path)
        if document is None or is_tombstone(document.data):
            if document is not None:
                await self._announce_again(path)
            raise grant_not_found(grant.name)
        if document.version != grant.version:
            await self._announce_again(path)  # Whoever changed it may have died before saying so.
            raise changed_by_others(path)
        version = await self._write_over(path, encode_grant(grant), document.version)
        await self._changed(path)
        return replace(grant, version=version)

    @whole
    async def delete_grant(self, name: str, deleted_by: str) -> None:
        """Deletes a grant. Raises GRANT_NOT_FOUND, or CONFLICT where it changed."""
        path = f"{GRANTS}/{name}"
        document = await self._store.read(path)
        if document is None or is_tombstone(document.data):
            if document is not None:
                await self._announce_again(path)
            raise grant_not_found(name)
        await self._write_over(path, {"deleted": True, "deleted_by": deleted_by}, document.version)
        await self._changed(path)

    async def _version_to_replace(self, path: str, taken: BrokerError) -> int:
        document, version = await read_for_cas(self._store, path)
        if document is not None and not is_tombstone(document.data):
            await self._announce_again(path)
            raise taken
        return version

    async def _write_over(self, path: str, data: Mapping[str, Any], expected: int) -> int:
        try:
            return await self._store.write(path, data, expected=expected)
        except CasMismatchError:
            raise changed_by_others(path) from None

    async def _announce_again(self, path: str) -> None:
        """Announces what is written already, but perhaps by somebody who died, or was cut off, before saying so.

        Without this, whoever tries a revocation again is told that it is done, while replicas still honour the key.
        """
        await self._changed(path)
