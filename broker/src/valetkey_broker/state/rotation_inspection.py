"""Looks for credentials that were to be proved, and whose rotation is over or gone."""

from collections.abc import AsyncIterator
from functools import partial

from valetkey_broker.errors import being_changed
from valetkey_broker.model import RotationState
from valetkey_broker.ports import StateStore
from valetkey_broker.state.generation_document import read_generation
from valetkey_broker.state.named_secret_inspection import Finding, readable_versions

_FOLDER = "rotation-credentials"
_ENDED = frozenset(state.value for state in RotationState if state.ended)


class RotationInspection:
    """Compares such credentials with the rotations under way."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def findings(self) -> AsyncIterator[Finding]:
        """Looks for what no rotation needs. Raises VAULT_UNAVAILABLE."""
        for name in sorted(await self._store.names(_FOLDER)):
            if not name.endswith("/") and (left := await self._left(name)):
                yield Finding(
                    f"{_FOLDER}/{name}",
                    f"holds {len(left)} credential(s) of rotations that are over",
                    "destroy them: valetkey-broker check-state --repair",
                    partial(self._destroy, name),
                )

    async def _left(self, name: str) -> list[int]:
        """Returns the versions that nobody needs.

        A rotation destroys its own before it ends, and has an intent until its document is there: what can be read at
        the first look and at the last, with neither between, is left over.
        """
        path = f"{_FOLDER}/{name}"
        first = await readable_versions(self._store, path)
        if not first or await self._needed(name):
            return []
        return [version for version in first if await self._store.read(path, version) is not None]

    async def _needed(self, name: str) -> bool:
        generation, _ = await read_generation(self._store)
        path = f"{_FOLDER}/{name}"
        for raw in generation.intents.values():
            details = raw.get("details")
            if isinstance(details, dict) and details.get("credential_path") == path:
                return True
        rotation = await self._store.read(f"rotations/{name}")
        return rotation is not None and rotation.data.get("state") not in _ENDED

    async def _destroy(self, name: str) -> None:
        left = await self._left(name)
        if not left:
            raise being_changed(f"{_FOLDER}/{name}")
        await self._store.destroy(f"{_FOLDER}/{name}", left)
