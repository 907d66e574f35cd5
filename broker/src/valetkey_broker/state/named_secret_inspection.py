"""Looks for named secrets without their value, and values without their secret."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from valetkey_broker.errors import being_changed
from valetkey_broker.model import InvalidFieldError, check_secret_name
from valetkey_broker.ports import Document, StateStore
from valetkey_broker.state.change_kinds import shared_credential_path
from valetkey_broker.state.codec import is_tombstone
from valetkey_broker.state.generation_document import read_generation
from valetkey_broker.state.memory_updates import SECRETS

# Vault keeps no more versions than max_versions says, ten by default; what is older than these is gone in any case.
_MOST_VERSIONS = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """What is half done, where, and what mends it; `repair` is None where people must."""

    path: str
    what: str
    remedy: str
    repair: Callable[[], Awaitable[None]] | None = None


async def readable_versions(store: StateStore, path: str) -> list[int]:
    """Returns the versions of a document that can be read."""
    newest = await store.newest(path)
    versions = range(max(1, newest - _MOST_VERSIONS + 1), newest + 1)
    return [version for version in versions if await store.read(path, version) is not None]


class SecretInspection:
    """Compares the named secrets with their values."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def by_uid(self) -> Mapping[str, tuple[str, Document]]:
        """Returns name and document of each named secret, by its uid."""
        found = {}
        for name in await self._store.names(SECRETS):
            document = await self._store.read(f"{SECRETS}/{name}") if _possible(name) else None
            if document is not None and not is_tombstone(document.data):
                found[str(document.data.get("uid"))] = (name, document)
        return found

    async def findings(self, secrets: Mapping[str, tuple[str, Document]]) -> AsyncIterator[Finding]:
        """Looks for what does not belong together. Raises VAULT_UNAVAILABLE."""
        for uid, (name, document) in sorted(secrets.items(), key=lambda each: each[1][0]):
            version = document.data.get("credential_version")
            path = shared_credential_path(uid)
            if not isinstance(version, int) or await self._store.read(path, version) is None:
                yield Finding(
                    f"{SECRETS}/{name}",
                    f"its value, version {version}, cannot be read",
                    f"give it its value again: valetkey secret update {name}",
                )
        for uid in await self._store.names("shared-credentials"):
            if uid in secrets or not (readable := await readable_versions(self._store, shared_credential_path(uid))):
                continue
            if not await self._begun(uid) and uid not in await self.by_uid():
                yield Finding(
                    shared_credential_path(uid),
                    f"holds {len(readable)} value(s) of a named secret that is not there",
                    "destroy them: valetkey-broker check-state --repair",
                    partial(self._destroy, uid),
                )

    async def _destroy(self, uid: str) -> None:
        """Destroys what no secret has. No later secret gets that uid, so that nobody can come to want it."""
        path = shared_credential_path(uid)
        if await self._begun(uid) or uid in await self.by_uid():
            raise being_changed(path)
        await self._store.destroy(path, await readable_versions(self._store, path))

    async def _begun(self, uid: str) -> bool:
        """Tells whether a change is under way that writes there."""
        generation, _ = await read_generation(self._store)
        path = shared_credential_path(uid)
        return any(
            isinstance(details := raw.get("details"), dict) and details.get("credential_path") == path
            for raw in generation.intents.values()
        )


def _possible(name: str) -> bool:
    try:
        check_secret_name("name", name)
    except InvalidFieldError:
        return False
    return True
