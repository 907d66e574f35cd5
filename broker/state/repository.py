"""Writes what the broker keeps in Vault."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from broker.errors import BrokerError, Reason
from broker.model import ApiKey, Connector, Credential, Grant, Secret
from broker.ports import CasMismatchError
from broker.state.codec import encode_api_key, encode_connector, encode_grant, is_tombstone
from broker.state.mirror import API_KEYS, CONNECTORS, GRANTS, StateMirror


class StateRepository(StateMirror):
    """The one writer of memory. Every write is check-and-set: of two operators one wins, the other is told.

    A deleted object leaves a tombstone under its name, so that deleting is a check-and-set too. All methods raise
    BrokerError with VAULT_UNAVAILABLE where Vault does not do its part.
    """

    async def credential(self, connector: Connector) -> Credential:
        """Returns the credential in use by `connector`: from memory, or once from Vault."""
        known = self._credentials.get(connector.uid)
        if known is not None and known.version == connector.credential_version:
            return known
        document = await self._store.read(f"credentials/{connector.name}", connector.credential_version)
        if document is None:
            raise BrokerError(
                Reason.VAULT_UNAVAILABLE,
                f"Vault holds no version {connector.credential_version} of the credential of connector "
                f"{connector.name}; delete the connector and register it again",
                {"connector": connector.name, "cause": "not found"},
            )
        credential = Credential(connector.credential_version, Secret(str(document.data["client_secret"])))
        if connector.name in self._memory.connectors:
            self._credentials[connector.uid] = credential
        return credential

    async def create_connector(self, draft: Connector, client_secret: Secret) -> Connector:
        """Stores a new connector and its secret. Raises CONNECTOR_EXISTS where the name is taken."""
        taken = BrokerError(
            Reason.CONNECTOR_EXISTS,
            f"a connector named {draft.name} exists already; choose another name, or delete it first",
            {"connector": draft.name},
        )
        path, credential_path = f"{CONNECTORS}/{draft.name}", f"credentials/{draft.name}"
        expected = await self._version_to_replace(path, taken)
        # The secret goes first: a connector without its secret must never be seen. Dying right here leaves a version
        # that no connector names, and that the next one of this name simply counts on from.
        version = await self._write_next(credential_path, {"client_secret": client_secret.reveal()})
        connector = replace(draft, credential_version=version)
        try:
            await self._store.write(path, encode_connector(connector), expected=expected)
        except CasMismatchError:
            await self._store.destroy(credential_path, [version])
            raise taken from None
        await self._changed(path)
        return connector

    async def delete_connector(self, name: str, deleted_by: str) -> None:
        """Deletes a connector and destroys its secrets. Raises CONNECTOR_NOT_FOUND, or CONFLICT where it changed."""
        path = f"{CONNECTORS}/{name}"
        document = await self._store.read(path)
        if document is not None and not is_tombstone(document.data):
            version = int(document.data["credential_version"])
            tombstone = {"deleted": True, "deleted_by": deleted_by, "credential_version": version}
            await self._write_over(path, tombstone, document.version)
            await self._changed(path)
            await self._destroy_credentials(name, version)
            return
        if document is not None:  # Deleted before, perhaps by somebody who died before the secret was destroyed.
            await self._announce_again(path)
            await self._destroy_credentials(name, int(document.data["credential_version"]))
        raise BrokerError(Reason.CONNECTOR_NOT_FOUND, f"no connector is named {name}", {"connector": name})

    async def create_api_key(self, key: ApiKey) -> None:
        """Stores a new API key. Raises API_KEY_EXISTS where the name is taken."""
        taken = BrokerError(
            Reason.API_KEY_EXISTS,
            f"an API key named {key.name} exists already; choose another name, or revoke it first",
            {"api_key": key.name},
        )
        path = f"{API_KEYS}/{key.name}"
        expected = await self._version_to_replace(path, taken)
        try:
            await self._store.write(path, encode_api_key(key), expected=expected)
        except CasMismatchError:
            raise taken from None
        await self._changed(path)

    async def revoke_api_key(self, name: str, revoked_by: str) -> None:
        """Revokes an API key for good. Raises API_KEY_NOT_FOUND, or CONFLICT where it changed."""
        path = f"{API_KEYS}/{name}"
        document = await self._store.read(path)
        if document is None or is_tombstone(document.data):
            if document is not None:
                await self._announce_again(path)
            raise BrokerError(Reason.API_KEY_NOT_FOUND, f"no API key is named {name}", {"api_key": name})
        await self._write_over(path, {"deleted": True, "deleted_by": revoked_by}, document.version)
        await self._changed(path)

    async def create_grant(self, grant: Grant) -> Grant:
        """Stores a new grant and returns it with its version. Raises GRANT_EXISTS where the name is taken."""
        taken = BrokerError(
            Reason.GRANT_EXISTS,
            f"a grant named {grant.name} exists already; choose another name, or update it",
            {"grant": grant.name},
        )
        path = f"{GRANTS}/{grant.name}"
        expected = await self._version_to_replace(path, taken)
        try:
            version = await self._store.write(path, encode_grant(grant), expected=expected)
        except CasMismatchError:
            raise taken from None
        await self._changed(path)
        return replace(grant, version=version)

    async def update_grant(self, grant: Grant) -> Grant:
        """Replaces the grant if it still has `grant.version`; returns it with the new one.

        Raises GRANT_NOT_FOUND, or CONFLICT where somebody else changed it.
        """
        path = f"{GRANTS}/{grant.name}"
        document = await self._store.read(path)
        if document is None or is_tombstone(document.data):
            if document is not None:
                await self._announce_again(path)
            raise no_grant(grant.name)
        if document.version != grant.version:
            await self._announce_again(path)  # Whoever changed it may have died before saying so.
            raise _changed_by_others(path)
        version = await self._write_over(path, encode_grant(grant), document.version)
        await self._changed(path)
        return replace(grant, version=version)

    async def delete_grant(self, name: str, deleted_by: str) -> None:
        """Deletes a grant. Raises GRANT_NOT_FOUND, or CONFLICT where it changed."""
        path = f"{GRANTS}/{name}"
        document = await self._store.read(path)
        if document is None or is_tombstone(document.data):
            if document is not None:
                await self._announce_again(path)
            raise no_grant(name)
        await self._write_over(path, {"deleted": True, "deleted_by": deleted_by}, document.version)
        await self._changed(path)

    async def _version_to_replace(self, path: str, taken: BrokerError) -> int:
        document = await self._store.read(path)
        if document is None:
            return await self._store.newest(path)
        if not is_tombstone(document.data):
            await self._announce_again(path)
            raise taken
        return document.version

    async def _write_next(self, path: str, data: Mapping[str, Any]) -> int:
        while True:  # Ends: each round that loses means that somebody else's write went through.
            try:
                return await self._store.write(path, data, expected=await self._store.newest(path))
            except CasMismatchError:
                continue

    async def _write_over(self, path: str, data: Mapping[str, Any], expected: int) -> int:
        try:
            return await self._store.write(path, data, expected=expected)
        except CasMismatchError:
            raise _changed_by_others(path) from None

    async def _destroy_credentials(self, name: str, newest: int) -> None:
        # Only up to the version this connector used: a later one belongs to a new connector of the same name.
        await self._store.destroy(f"credentials/{name}", range(1, newest + 1))

    async def _announce_again(self, path: str) -> None:
        """Announces what is written already, but perhaps by somebody who died, or was cut off, before saying so.

        Without this, whoever tries a revocation again is told that it is done, while replicas still honour the key.
        """
        await self._changed(path)


def no_grant(name: str) -> BrokerError:
    """Returns the error of a grant that is not there."""
    return BrokerError(Reason.GRANT_NOT_FOUND, f"no grant is named {name}", {"grant": name})


def _changed_by_others(path: str) -> BrokerError:
    return BrokerError(Reason.CONFLICT, f"somebody else changed {path} just now; look at it again", {"object": path})
