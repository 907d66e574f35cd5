"""Keeps the copy in memory equal to what Vault holds."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import structlog

from valetkey_broker.concurrency.background import BackgroundWork
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import Credential, InvalidFieldError, check_name
from valetkey_broker.model.errors import shown
from valetkey_broker.ports import Document, StateStore
from valetkey_broker.state.codec import decode_api_key, decode_connector, decode_grant, is_tombstone
from valetkey_broker.state.generation import Generation, bump, read_generation
from valetkey_broker.state.memory import Memory

CONNECTORS = "connectors"
API_KEYS = "api-keys"
GRANTS = "grants"
_FOLDERS = (CONNECTORS, API_KEYS, GRANTS)
_READS_AT_ONCE = 8
# Taking over thousands of documents must not keep the calls waiting that are being served.
_TAKEN_AT_ONCE = 50
_UNKNOWN = Generation(-1, ())


class StateMirror:
    """Reads everything at the start, then what changed. All methods raise BrokerError with VAULT_UNAVAILABLE."""

    def __init__(self, store: StateStore, memory: Memory, on_connector_gone: Callable[[str], Awaitable[None]]) -> None:
        self._store = store
        self._memory = memory
        self._on_connector_gone = on_connector_gone
        self._seen = Generation(0, ())
        self._credentials: dict[str, Credential] = {}  # by connector uid
        self._log = structlog.get_logger()
        # Changes to memory come from reloads and from writes; one at a time, or an old reading could undo a write.
        self._lock = asyncio.Lock()
        self.background = BackgroundWork()

    async def load(self) -> None:
        """Reads everything anew."""
        async with self._lock:
            generation, _ = await read_generation(self._store)
            paths = [
                f"{folder}/{name}"
                for folder in _FOLDERS
                for name in await self._store.names(folder)
                if self._is_name(folder, name)
            ]
            await self._reload(paths)
            await self._drop_all_but(set(paths))
            self._seen = generation

    async def refresh(self) -> None:
        """Reads what changed since the last time, which mostly is nothing: one small read."""
        await self.background.catch_up()
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

    def _is_name(self, folder: str, name: str) -> bool:
        try:
            check_name("name", name)
        except InvalidFieldError:
            # Put there by hand: the store would not even read it, and the others must load all the same.
            self._log.error("an entry in Vault has no possible name and was ignored", folder=folder, name=shown(name))
            return False
        return True

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
                self.background.later(f"announce {path}", partial(bump, self._store, path), failure)

    async def _reload(self, paths: list[str]) -> None:
        slots = asyncio.Semaphore(_READS_AT_ONCE)

        async def read(path: str) -> tuple[str, Document | None]:
            async with slots:
                return path, await self._store.read(path)

        documents = await asyncio.gather(*(read(path) for path in paths))
        for number, (path, document) in enumerate(documents, start=1):
            try:
                await self._take(path, document)
            except (KeyError, TypeError, ValueError) as error:
                # A document that somebody edited by hand must not take the others down; itself it is not believed.
                await self._take(path, None)
                self._log.error(
                    "a document in Vault is malformed and was ignored",
                    path=path,
                    error_type=type(error).__qualname__,
                )
            if number % _TAKEN_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _take(self, path: str, document: Document | None) -> None:
        folder, _, name = path.partition("/")
        there = document if document is not None and not is_tombstone(document.data) else None
        if folder == CONNECTORS:
            await self._take_connector(name, there.data if there else None)
        elif folder == API_KEYS:
            self._take_api_key(name, there.data if there else None)
        elif folder == GRANTS:
            if there is None:
                self._memory.drop_grant(name)
            else:
                self._memory.put_grant(decode_grant(name, there.data, there.version))

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
        for name in [n for n in self._memory.connectors if f"{CONNECTORS}/{n}" not in paths]:
            await self._take_connector(name, None)
        for name in [n for n in self._memory.keys_by_name if f"{API_KEYS}/{n}" not in paths]:
            self._memory.drop_api_key(name)
        for name in [n for n in self._memory.grants if f"{GRANTS}/{n}" not in paths]:
            self._memory.drop_grant(name)
