"""Creates and deletes connectors in Vault: two documents, of which none may be left without the other."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from valetkey_broker.concurrency.background import BackgroundWork
from valetkey_broker.errors import changed_by_others, connector_exists, connector_not_found
from valetkey_broker.model import Connector, Secret
from valetkey_broker.ports import CasMismatchError, Document, StateStore
from valetkey_broker.state.codec import encode_connector, is_tombstone
from valetkey_broker.state.read_for_cas import read_for_cas


class ConnectorWrites:
    """What StateRepository does for connectors. `changed` takes over and announces a path that was written."""

    def __init__(
        self, store: StateStore, background: BackgroundWork, changed: Callable[[str], Awaitable[None]]
    ) -> None:
        self._store = store
        self._under_way = background
        self._changed = changed

    async def create(self, draft: Connector, client_secret: Secret) -> Connector:
        """Stores a connector and its secret. Raises CONNECTOR_EXISTS, or CONFLICT where it was deleted meanwhile."""
        path = _path(draft.name)
        expected = await self._free(draft.name)
        # The secret goes first: a connector without its secret must never be seen.
        connector = replace(draft, credential_version=await self._write_secret(draft, client_secret, expected))
        try:
            await self._store.write(path, encode_connector(connector), expected=expected)
        except CasMismatchError:
            await self._destroy_own(connector)
            await self._free(draft.name)
            raise changed_by_others(path) from None
        except Exception as error:
            if not await self._went_through(connector, expected, error):
                raise
        await self._changed(path)
        return connector

    async def delete(self, name: str, deleted_by: str) -> None:
        """Deletes a connector and destroys its secrets. Raises CONNECTOR_NOT_FOUND, or CONFLICT where it changed.

        Where there is no connector, it destroys what secrets somebody who died left under the name.
        """
        path = _path(name)
        document, expected = await read_for_cas(self._store, path)
        try:
            newest = await self._bury(name, deleted_by, document, expected)
        except CasMismatchError:
            raise changed_by_others(path) from None
        if document is not None:  # If it was deleted before, then perhaps by somebody who died before saying so.
            await self._changed(path)
        try:
            await self._destroy(name, newest)
        except Exception as error:
            self._tidy_later(name, deleted_by, error)
            raise
        if not _live(document):
            raise connector_not_found(name)

    async def _free(self, name: str) -> int:
        """Returns the version that a new connector of this name has to replace. Raises CONNECTOR_EXISTS."""
        document, version = await read_for_cas(self._store, _path(name))
        if _live(document):
            await self._changed(_path(name))  # Whoever created it may have died, or been cut off, before saying so.
            raise connector_exists(name)
        return version

    async def _write_secret(self, draft: Connector, client_secret: Secret, expected: int) -> int:
        path = _credential_path(draft.name)
        while True:  # Ends: each round that loses means that somebody else's write went through.
            newest = await self._store.newest(path)
            try:
                return await self._store.write(path, {"client_secret": client_secret.reveal()}, expected=newest)
            except CasMismatchError:
                # Somebody else registers this name. Vault keeps a few versions and no more: losers who wrote theirs
                # all the same could push out the winner's.
                if await self._free(draft.name) != expected:
                    raise changed_by_others(_path(draft.name)) from None
            except Exception as error:
                await self._tidy_or_later(draft, error)  # It may have been written, only the answer was lost.
                raise

    async def _went_through(self, connector: Connector, expected: int, error: Exception) -> bool:
        """Tells whether a write that failed was made all the same; if not, sees to it that it never will be."""
        try:
            document, _ = await read_for_cas(self._store, _path(connector.name))
        except Exception:  # noqa: BLE001 (Vault is away; the caller raises the first error)
            self._tidy_later(connector.name, connector.created_by, error)
            return False
        if document is not None and document.data.get("uid") == connector.uid:
            return True
        if document is not None and document.version > expected:  # Somebody else's: ours can no longer come.
            await self._destroy_own(connector)
        else:
            await self._tidy_or_later(connector, error)
        return False

    async def _tidy(self, name: str, by: str) -> None:
        """Destroys the secrets under a name that no connector has; a connector that is there is announced."""
        while True:
            document, expected = await read_for_cas(self._store, _path(name))
            if _live(document):
                return await self._changed(_path(name))
            try:
                return await self._destroy(name, await self._bury(name, by, document, expected))
            except CasMismatchError:
                continue

    async def _bury(self, name: str, by: str, document: Document | None, expected: int) -> int:
        """Writes a tombstone where it is needed, and returns up to which version secrets are now nobody's.

        Whoever registers this name looks at the connector first and writes the secret second. A secret up to the
        version found here therefore belongs to somebody whose check-and-set on the connector fails after this one,
        even if it is on its way to Vault already. Raises CasMismatchError where the connector is not at `expected`.
        """
        newest = await self._store.newest(_credential_path(name))
        buried = document.data.get("credential_version") if document is not None else 0
        if _live(document) or newest > (buried if isinstance(buried, int) else 0):
            tombstone = {"deleted": True, "deleted_by": by, "credential_version": newest}
            await self._store.write(_path(name), tombstone, expected=expected)
        return newest

    async def _destroy(self, name: str, newest: int) -> None:
        if newest:
            await self._store.destroy(_credential_path(name), range(1, newest + 1))

    async def _destroy_own(self, connector: Connector) -> None:
        name, version = connector.name, connector.credential_version
        destroy = partial(self._store.destroy, _credential_path(name), [version])
        try:
            await destroy()
        except Exception as error:  # noqa: BLE001 (the caller has something else to raise)
            self._under_way.later(f"destroy version {version} of the credential of {name}", destroy, error)

    async def _tidy_or_later(self, connector: Connector, error: Exception) -> None:
        try:
            await self._tidy(connector.name, connector.created_by)
        except Exception:  # noqa: BLE001 (Vault is away; the caller raises the first error)
            self._tidy_later(connector.name, connector.created_by, error)

    def _tidy_later(self, name: str, by: str, error: Exception) -> None:
        self._under_way.later(f"destroy secrets that no connector {name} names", partial(self._tidy, name, by), error)


def _live(document: Document | None) -> bool:
    return document is not None and not is_tombstone(document.data)


def _path(name: str) -> str:
    return f"connectors/{name}"


def _credential_path(name: str) -> str:
    return f"credentials/{name}"
