"""Looks for what is half done in Vault, whoever left it, earlier versions of the broker included."""

import asyncio
from collections.abc import AsyncIterator, Container
from functools import partial

from valetkey_broker.model import InvalidFieldError, check_name
from valetkey_broker.ports import Document, StateStore
from valetkey_broker.state.codec import is_tombstone
from valetkey_broker.state.generation_document import read_generation
from valetkey_broker.state.named_secret_inspection import Finding, SecretInspection, readable_versions
from valetkey_broker.state.repository import StateRepository
from valetkey_broker.state.rotation_inspection import RotationInspection


class Inspection:
    """Compares what belongs together in Vault. Reads secrets only to see that they can be read."""

    def __init__(self, store: StateStore, repository: StateRepository, repaired_by: str) -> None:
        self._store = store
        self._repository = repository
        self._repaired_by = repaired_by
        self._secrets = SecretInspection(store)

    async def findings(self, abandoned_seconds: float) -> AsyncIterator[Finding]:
        """Looks for changes that nobody works on, which takes `abandoned_seconds` to tell; then for orphans.

        Raises VAULT_UNAVAILABLE.
        """
        busy: set[str] = set()
        async for finding in self._unfinished(abandoned_seconds, busy):
            yield finding
        secrets = await self._secrets.by_uid()
        async for finding in self._secrets.findings(secrets):
            yield finding
        connectors = await self._names("connectors")
        credentials = await self._names("credentials")
        for name in sorted(connectors | credentials):
            if f"connectors/{name}" not in busy:
                async for finding in self._connector(name, secrets):
                    yield finding
        async for finding in RotationInspection(self._store).findings():
            yield finding

    async def _unfinished(self, abandoned_seconds: float, busy: set[str]) -> AsyncIterator[Finding]:
        before, _ = await read_generation(self._store)
        if not before.intents:
            return
        await self._repository.refresh()
        await asyncio.sleep(abandoned_seconds)
        after, _ = await read_generation(self._store)
        for key, raw in after.intents.items():
            path = str(raw.get("path"))
            busy.add(path)
            if before.intents.get(key) == raw:
                yield Finding(
                    path,
                    f"a change ({raw.get('kind')}) was begun and nobody works on it",
                    "any running broker settles it within a poll, if it knows its form",
                    self._settle,
                )

    async def _settle(self) -> None:
        await self._repository.refresh()
        await self._repository.settle_abandoned()

    async def _connector(self, name: str, secrets: Container[str]) -> AsyncIterator[Finding]:
        connector = await self._store.read(f"connectors/{name}")
        path = f"credentials/{name}"
        shared = connector.data.get("secret") if connector and _live(connector) else None
        if shared:
            if shared not in secrets:
                yield Finding(
                    f"connectors/{name}",
                    "the named secret that it uses is gone",
                    f"give it its secret again: valetkey service-connector update {name} --client-secret @FILE",
                )
            return
        if _live(connector):
            version = connector.data.get("credential_version") if connector else None
            if not isinstance(version, int) or await self._store.read(path, version) is None:
                yield Finding(
                    f"connectors/{name}",
                    f"its credential, version {version}, cannot be read",
                    f"give it its secret again: valetkey service-connector update {name} --client-secret @FILE",
                )
            return
        if readable := await readable_versions(self._store, path):
            yield Finding(
                path,
                f"holds {len(readable)} secret(s) that no connector uses",
                f"destroy them: valetkey service-connector delete {name}",
                partial(self._repository.destroy_orphans, name, self._repaired_by),
            )

    async def _names(self, folder: str) -> set[str]:
        return {name for name in await self._store.names(folder) if _possible(name)}


def _live(document: Document | None) -> bool:
    return document is not None and not is_tombstone(document.data)


def _possible(name: str) -> bool:
    try:
        check_name("name", name)
    except InvalidFieldError:
        return False
    return True
