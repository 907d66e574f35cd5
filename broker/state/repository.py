"""Reads and writes what the broker keeps in Vault, and keeps the copy in memory equal to it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import structlog

from broker.errors import BrokerError, Reason
from broker.model import ApiKey, Connector, Credential, InvalidFieldError, Secret, check_name
from broker.model.invalid import shown
from broker.ports import CasMismatchError, StateStore
from broker.state.codec import (
    decode_api_key,
    decode_connector,
    encode_api_key,
    is_tombstone,
)
from broker.state.connector_writes import ConnectorWrites
from broker.state.generation import Generation, bump, read_generation
from broker.state.look import look
from broker.state.memory import Memory
from broker.state.under_way import UnderWay, whole

_CONNECTORS = "connectors"
_API_KEYS = "api-keys"
_READS_AT_ONCE = 8
_UNKNOWN = Generation(-1, ())


class StateRepository:
    """The one writer of `memory`. Every write is check-and-set: of two operators one wins, the other is told.

    A deleted object leaves a tombstone under its name, so that deleting is a check-and-set too. All methods raise
    BrokerError with VAULT_UNAVAILABLE where Vault does not do its part.
    """

    def __init__(self, store: StateStore, memory: Memory, on_connector_gone: Callable[[str], Awaitable[None]]) -> None:
        self._store = store
        self._memory = memory
        self._on_connector_gone = on_connector_gone
        self._seen = Generation(0, ())
        self._credentials: dict[str, Credential] = {}  # by connector uid
        self._log = structlog.get_logger()
        # Changes to memory come from reloads and from writes; one at a time, or an old reading could undo a write.
        self._lock = asyncio.Lock()
        self.under_way = UnderWay()
        self._connector_writes = ConnectorWrites(store, self.under_way, self._changed)

    async def close(self) -> None:
        """Waits for the changes under way, callers or no callers. Never raises."""
        await self.under_way.close()

    async def load(self) -> None:
        """Reads everything anew."""
        async with self._lock:
            generation, _ = await read_generation(self._store)
            paths = [
                f"{folder}/{name}"
                for folder in (_CONNECTORS, _API_KEYS)
                for name in await self._store.names(folder)
                if self._is_name(folder, name)
            ]
            await self._reload(paths)
            await self._drop_all_but(set(paths))
            self._seen = generation

    async def refresh(self) -> None:
        """Reads what changed since the last time, which mostly is nothing: one small read."""
        await self.under_way.catch_up()
        async with self._lock:
            generation, _ = await read_generation(self._store)
            if generation.counter == self._seen.counter:
                return
            changed = generation.since(self._seen.counter)
            if changed is not None:
                await self._reload(sorted(changed))
                self._seen = generation
        if changed is None:
            await self.load()

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
        taken = BrokerError(
            Reason.API_KEY_EXISTS,
            f"an API key named {key.name} exists already; choose another name, or revoke it first",
            {"api_key": key.name},
        )
        path = f"{_API_KEYS}/{key.name}"
        expected = await self._version_to_replace(path, taken)
        try:
            await self._store.write(path, encode_api_key(key), expected=expected)
        except CasMismatchError:
            raise taken from None
        await self._changed(path)

    @whole
    async def revoke_api_key(self, name: str, revoked_by: str) -> None:
        """Revokes an API key for good. Raises API_KEY_NOT_FOUND, or CONFLICT where it changed."""
        path = f"{_API_KEYS}/{name}"
        document = await self._store.read(path)
        if document is None or is_tombstone(document.data):
            if document is not None:
                await self._announce_again(path)
            raise BrokerError(Reason.API_KEY_NOT_FOUND, f"no API key is named {name}", {"api_key": name})
        await self._write_over(path, {"deleted": True, "deleted_by": revoked_by}, document.version)
        await self._changed(path)

    def _is_name(self, folder: str, name: str) -> bool:
        try:
            check_name("name", name)
        except InvalidFieldError:
            # Put there by hand: the store would not even read it, and the others must load all the same.
            self._log.error("an entry in Vault has no possible name and was ignored", folder=folder, name=shown(name))
            return False
        return True

    async def _version_to_replace(self, path: str, taken: BrokerError) -> int:
        document, version = await look(self._store, path)
        if document is not None and not is_tombstone(document.data):
            await self._announce_again(path)
            raise taken
        return version

    async def _write_over(self, path: str, data: Mapping[str, Any], expected: int) -> None:
        try:
            await self._store.write(path, data, expected=expected)
        except CasMismatchError:
            raise BrokerError(
                Reason.CONFLICT, f"somebody else changed {path} just now; look at it again", {"object": path}
            ) from None

    async def _announce_again(self, path: str) -> None:
        """Announces what is written already, but perhaps by somebody who died, or was cut off, before saying so.

        Without this, whoever tries a revocation again is told that it is done, while replicas still honour the key.
        """
        await self._changed(path)

    async def _changed(self, path: str) -> None:
        """Takes over a change of our own, and announces it. The change stands, whatever happens to the news of it."""
        failure: BaseException | None = None
        announced = False
        try:
            async with self._lock:
                await self._reload([path])
            await bump(self._store, path)
            announced = True
        except BrokerError as error:
            failure = error
        finally:
            if not announced:  # Also where the caller hung up: the next refresh reads everything, and so finds it.
                self._seen = _UNKNOWN
                self.under_way.later(f"announce {path}", partial(bump, self._store, path), failure)

    async def _reload(self, paths: list[str]) -> None:
        slots = asyncio.Semaphore(_READS_AT_ONCE)

        async def read(path: str) -> tuple[str, Any]:
            async with slots:
                return path, await self._store.read(path)

        for path, document in await asyncio.gather(*(read(path) for path in paths)):
            folder, _, name = path.partition("/")
            data = document.data if document is not None and not is_tombstone(document.data) else None
            try:
                if folder == _CONNECTORS:
                    await self._take_connector(name, data)
                elif folder == _API_KEYS:
                    self._take_api_key(name, data)
            except (KeyError, TypeError, ValueError) as error:
                # A document that somebody edited by hand must not take the others down; itself it is not believed.
                await self._take_connector(name, None) if folder == _CONNECTORS else self._take_api_key(name, None)
                self._log.error(
                    "a document in Vault is malformed and was ignored",
                    path=path,
                    error_type=type(error).__qualname__,
                )

    async def _take_connector(self, name: str, data: Mapping[str, Any] | None) -> None:
        before = self._memory.connectors.get(name)
        after = decode_connector(name, data) if data is not None else None
        if after is None:
            self._memory.drop_connector(name)
        else:
            self._memory.put_connector(after)
        if before is not None and (after is None or after.uid != before.uid):
            self._credentials.pop(before.uid, None)
            await self._on_connector_gone(before.uid)

    def _take_api_key(self, name: str, data: Mapping[str, Any] | None) -> None:
        if data is None:
            self._memory.drop_api_key(name)
        else:
            self._memory.put_api_key(decode_api_key(name, data))

    async def _drop_all_but(self, paths: set[str]) -> None:
        for name in [n for n in self._memory.connectors if f"{_CONNECTORS}/{n}" not in paths]:
            await self._take_connector(name, None)
        for name in [n for n in self._memory.keys_by_name if f"{_API_KEYS}/{n}" not in paths]:
            self._memory.drop_api_key(name)
