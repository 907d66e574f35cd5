"""Creates, changes and deletes connectors in Vault: two documents, of which none may be left without the other."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from valetkey_broker.errors import changed_by_others, connector_exists, connector_not_found
from valetkey_broker.model import Connector, CredentialOrigin, PreviousWay
from valetkey_broker.ports import Document, StateStore
from valetkey_broker.state.change_kinds import PUT, REGISTER, UNREGISTER, UPDATE, credential_path
from valetkey_broker.state.change_writer import Check, Plan, Writes
from valetkey_broker.state.codec import decode_connector, encode_connector, is_tombstone
from valetkey_broker.state.intent import STAMP, Intent
from valetkey_broker.state.intents_of_call import writes_without_intent
from valetkey_broker.state.read_for_check_and_set import read_for_cas
from valetkey_broker.state.undone_change_check import only_undone_since
from valetkey_broker.state.write_preconditions import Announce, version_of_free


class ConnectorWrites:
    """What StateRepository does for connectors. `announce` takes over and announces a path that was written before."""

    def __init__(self, store: StateStore, writes: Writes, announce: Announce) -> None:
        self._store = store
        self._writes = writes
        self._announce = announce

    async def create(self, draft: Connector, credential: Mapping[str, str]) -> Connector:
        """Stores a connector and its credential. Raises CONNECTOR_EXISTS, or CONFLICT where it changed meanwhile."""
        path = _path(draft.name)
        connector = draft

        async def prepare() -> Plan:
            nonlocal connector
            expected = await self.free(draft.name)
            version = await self._store.newest(credential_path(path)) + 1
            connector = replace(draft, credential_version=version, version=expected + 1)
            details = {"document": encode_connector(connector), "credential": version}
            return Plan(kind=REGISTER, expected=expected, first=write_secret, details=details)

        async def write_secret(intent: Intent) -> None:
            # The secret goes first: a connector without its secret must never be seen.
            document = intent.stamped(credential)
            await self._store.write(credential_path(path), document, expected=connector.credential_version - 1)

        if not await self._writes.make(path, prepare):
            await self.free(draft.name)
            raise changed_by_others(path)
        return connector

    async def update(
        self, connector: Connector, credential: Mapping[str, str] | None, check: Check | None = None
    ) -> Connector:
        """Replaces the connector that has `connector.version`, and with `credential` its secret by a new version.

        Raises CONNECTOR_NOT_FOUND, CONFLICT where it changed, or what `check` raises: that is for a new credential.
        """
        path = _path(connector.name)
        changed = connector

        async def prepare() -> Plan:
            nonlocal changed
            document, expected = await read_for_cas(self._store, path)
            if document is None or not _live(document):
                raise connector_not_found(connector.name)
            if expected != connector.version and not await only_undone_since(
                self._store, document, path, connector.version
            ):
                await self._announce(path)
                raise changed_by_others(path)
            version, keep = 0, connector.credential_version
            changed = replace(connector, version=expected + 1)
            if credential is not None:
                version = await self._store.newest(credential_path(path)) + 1
                changed = replace(
                    changed,
                    credential_version=version,
                    previous_credential_version=keep,
                    previous=_way_of(connector.name, document),
                )
            details = {
                # What only a later version of the broker knows of it stays.
                "document": {**_plain(document), **encode_connector(changed)},
                "credential": version,
                "keep": keep,
            }
            return Plan(
                kind=UPDATE, expected=expected, first=write_secret if credential is not None else None, details=details
            )

        async def write_secret(intent: Intent) -> None:
            if check is not None:
                await check()
            document = intent.stamped(credential or {})
            await self._store.write(credential_path(path), document, expected=changed.credential_version - 1)

        if not await self._writes.make(path, prepare):
            raise changed_by_others(path)
        return changed

    async def delete(self, name: str, deleted_by: str) -> None:
        """Deletes a connector and destroys its secrets. Raises CONNECTOR_NOT_FOUND, or CONFLICT where it changed.

        Where there is no connector, it destroys what secrets an earlier version of the broker left under the name.
        """
        if not await self._delete(name, deleted_by):
            raise connector_not_found(name)

    async def destroy_orphans(self, name: str, destroyed_by: str) -> None:
        """Destroys the secrets under a name that no connector has. Raises CONNECTOR_EXISTS where one has it by now."""
        await self._delete(name, destroyed_by, only_orphans=True)

    async def _delete(self, name: str, deleted_by: str, *, only_orphans: bool = False) -> bool:
        """Returns whether there was a connector."""
        path = _path(name)
        there = True

        async def prepare() -> Plan | None:
            nonlocal there
            document, expected = await read_for_cas(self._store, path)
            there = _live(document)
            if there and only_orphans:
                raise connector_exists(name)
            newest = await self._store.newest(credential_path(path))
            if document is None or not there:
                buried = document.data.get("credential_version") if document is not None else 0
                if newest <= (buried if isinstance(buried, int) else 0):
                    writes_without_intent()
                    await self._store.destroy(credential_path(path), range(1, newest + 1))
                    if document is not None:
                        await self._announce(path)
                    return None
            tombstone = {"deleted": True, "deleted_by": deleted_by, "credential_version": newest}
            return Plan(kind=UNREGISTER, expected=expected, details={"document": tombstone, "credential": newest})

        if not await self._writes.make(path, prepare):
            raise changed_by_others(path)
        return there

    async def drop_signing_keys(self, name: str, at: int) -> Connector:
        """Has every replica drop the signing keys that began before `at` (Unix seconds). Raises CONNECTOR_NOT_FOUND."""
        path = _path(name)
        connector: Connector | None = None

        async def prepare() -> Plan:
            nonlocal connector
            document, expected = await read_for_cas(self._store, path)
            if document is None or not _live(document):
                raise connector_not_found(name)
            there = decode_connector(name, document.data, expected + 1, (document.data["auth_method"],))
            connector = replace(there, keys_not_before=max(there.keys_not_before, at))
            data = {**_plain(document), **encode_connector(connector)}

            async def write(intent: Intent) -> None:
                await self._store.write(path, intent.stamped(data), expected=expected)

            return Plan(kind=PUT, expected=expected, first=write)

        if not await self._writes.make(path, prepare) or connector is None:
            raise changed_by_others(path)
        return connector

    async def free(self, name: str) -> int:
        """Returns the version that a new connector of this name has to replace. Raises CONNECTOR_EXISTS."""
        return await version_of_free(self._store, _path(name), self._announce, connector_exists(name))


def _live(document: Document | None) -> bool:
    return document is not None and not is_tombstone(document.data)


def _way_of(name: str, document: Document) -> PreviousWay:
    """Returns how the connector in a document logs in."""
    there = decode_connector(name, document.data, document.version, (document.data["auth_method"],))
    origin = there.origin
    if origin is None and not there.previous_credential_version and not there.secret_uid:
        origin = CredentialOrigin(there.created_at, there.created_by)  # The first one came with the connector.
    return PreviousWay(there.auth_method, there.azure, there.expires_at, origin)


def _plain(document: Document) -> dict[str, Any]:
    """Returns what a document says, without the mark of the change that wrote it."""
    return {key: value for key, value in document.data.items() if key != STAMP}


def _path(name: str) -> str:
    return f"connectors/{name}"
