"""A snapshot of all documents, kept in a few large entries of Vault, so that a start need not read each by itself.

Reading ten thousand documents one by one keeps Vault busy for ten seconds and more. The copy says which generation it
is of: a start takes it, and reads what changed since. It is nothing but a short cut: where it is missing, too old,
or does not fit together, every document is read.
"""

import asyncio
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from valetkey_broker.ports import CasMismatchError, Document, StateStore
from valetkey_broker.state.read_for_check_and_set import read_for_cas

FOLDER = "snapshot"
INDEX = f"{FOLDER}/index"
_FORM = 1
# Below this, reading them all takes no time worth speaking of.
_LEAST_DOCUMENTS = 200
# An entry must fit into Vault's storage whatever that is: Consul takes 512 KiB.
_PART_CHARACTERS = 200_000
# Well below the length of the generation's journal, which tells what changed since the copy.
_RENEWED_AFTER_CHANGES = 16
_OLD_VERSIONS = 10


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All documents as they were at a generation or later, by path."""

    counter: int
    documents: Mapping[str, Document] = field(repr=False)


class SnapshotDraft:
    """Takes documents while they are read, as text: thousands of them as objects would be many times as large."""

    def __init__(self, counter: int) -> None:
        self.counter = counter
        self.documents = 0
        self.parts: list[str] = []
        self._lines: list[str] = []
        self._characters = 0
        self._digest = hashlib.sha256()

    def add(self, path: str, document: Document | None) -> None:
        """Adds a document; what is not there is left out. Paths come in the same order each time."""
        if document is None:
            return
        self.documents += 1
        self._digest.update(f"{path} {document.version}\n".encode())
        line = json.dumps([path, document.version, dict(document.data)])
        self._lines.append(line)
        self._characters += len(line)
        if self._characters >= _PART_CHARACTERS:
            self._end_part()

    def finish(self) -> str:
        """Ends the last part; returns a digest of which documents there are, in which versions."""
        if self._lines:
            self._end_part()
        return self._digest.hexdigest()

    def _end_part(self) -> None:
        self.parts.append(f"[{','.join(self._lines)}]")
        self._lines.clear()
        self._characters = 0


class Snapshots:
    """Reads and writes the copy. Methods raise BrokerError with VAULT_UNAVAILABLE where Vault does not do its part."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def read(self) -> Snapshot | None:
        """Returns the copy; None where there is none that fits together."""
        index = await self._store.read(INDEX)
        if index is None or index.data.get("form") != _FORM:
            return None
        try:
            identity, count, counter = str(index.data["id"]), int(index.data["parts"]), int(index.data["counter"])
            documents: dict[str, Document] = {}
            for part in await self._store.read_many([_part(number) for number in range(count)]):
                if part is None or part.data["id"] != identity:
                    return None  # Somebody writes another copy right now, or died while doing so.
                for path, version, data in json.loads(part.data["documents"]):
                    documents[str(path)] = Document(int(version), _object(data))
                await asyncio.sleep(0)
        except (KeyError, TypeError, ValueError):
            return None
        return Snapshot(counter, documents)

    async def write(self, draft: SnapshotDraft) -> bool:
        """Writes a copy where there is none that does as well; tells whether it did."""
        digest = draft.finish()
        before, version = await read_for_cas(self._store, INDEX)
        known: Mapping[str, Any] = before.data if before is not None else {}
        if draft.documents < _LEAST_DOCUMENTS or _is_recent_enough(known, draft, digest):
            return False
        identity = str(uuid.uuid4())
        for number, text in enumerate(draft.parts):
            await self._replace(_part(number), {"id": identity, "documents": text})
        index = {
            "form": _FORM,
            "id": identity,
            "parts": len(draft.parts),
            "counter": draft.counter,
            "digest": digest,
            "documents": draft.documents,
        }
        try:
            await self._store.write(INDEX, index, expected=version)
        except CasMismatchError:
            return False  # Another replica was at it, too. At worst the next start reads every document.
        return True

    async def _replace(self, path: str, data: Mapping[str, Any]) -> None:
        _, version = await read_for_cas(self._store, path)
        try:
            written = await self._store.write(path, data, expected=version)
        except CasMismatchError:
            return
        # Each is large, and of no use any more.
        await self._store.destroy(path, _versions_before(written))


def _part(number: int) -> str:
    return f"{FOLDER}/part-{number}"


def _versions_before(version: int) -> Sequence[int]:
    return range(max(1, version - _OLD_VERSIONS), version)


def _is_recent_enough(known: Mapping[str, Any], draft: SnapshotDraft, digest: str) -> bool:
    """Tells whether a start could still take the snapshot of an index: few changes are read by themselves.

    What was changed by hand moves no counter. It is looked for by the digest, or, where changes were announced besides,
    by how many documents there are.
    """
    ahead = draft.counter - known["counter"] if isinstance(known.get("counter"), int) else -1
    if known.get("form") != _FORM or not 0 <= ahead < _RENEWED_AFTER_CHANGES:
        return False
    if ahead == 0:
        return known.get("digest") == digest
    had = known.get("documents")
    return isinstance(had, int) and abs(draft.documents - had) <= _RENEWED_AFTER_CHANGES


def _object(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise TypeError("a document is no object")
    return data
