"""An in-memory StateStore with the semantics of Vault's KV v2; the contract suite holds it to them."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from valetkey_broker.errors import BrokerError
from valetkey_broker.ports import CasMismatchError, Document

_PATH = re.compile(r"[a-z0-9_-]+(?:/[a-z0-9_-]+)*")


class FakeStateStore:
    """Keeps documents in memory, as JSON, so that nothing that Vault could not keep gets in.

    `calls` counts the calls by method name. Set `fail_with` to a BrokerError to make every method but
    `close` raise it (or only those named in `fail_only`), and back to None to heal. A document is
    destroyed, not gone: its name stays listed and its version numbers stay used, as in KV v2.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.fail_with: BrokerError | None = None
        self.fail_only: Collection[str] = ()
        self.opened = False
        self.closed = False
        # path → one entry for each version from 1 on; None stands for destroyed
        self._versions: dict[str, list[str | None]] = {}

    async def open(self) -> None:
        await self._enter("open")
        self.opened = True

    async def read(self, path: str, version: int | None = None) -> Document | None:
        await self._enter("read", path)
        versions = self._versions.get(path, [])
        number = len(versions) if version is None else version
        if not 1 <= number <= len(versions):
            return None
        text = versions[number - 1]
        return None if text is None else Document(version=number, data=json.loads(text))

    async def read_many(self, paths: Sequence[str]) -> Sequence[Document | None]:
        return [await self.read(path) for path in paths]

    async def write(self, path: str, data: Mapping[str, Any], *, expected: int) -> int:
        await self._enter("write", path)
        text = json.dumps(dict(data))
        # No await from here on: the check and the set are one step.
        versions = self._versions.get(path, [])
        if expected != len(versions):
            raise CasMismatchError(f"{path}: the newest version is not {expected}; nothing was written")
        self._versions[path] = [*versions, text]
        return len(versions) + 1

    async def newest(self, path: str) -> int:
        await self._enter("newest", path)
        return len(self._versions.get(path, []))

    async def names(self, folder: str) -> Sequence[str]:
        await self._enter("names", folder)
        below = [path.removeprefix(f"{folder}/") for path in self._versions if path.startswith(f"{folder}/")]
        return sorted(name for name in below if "/" not in name)

    async def destroy(self, path: str, versions: Sequence[int]) -> None:
        await self._enter("destroy", path)
        stored = self._versions.get(path, [])
        for number in versions:
            if 1 <= number <= len(stored):
                stored[number - 1] = None

    async def close(self) -> None:
        self.calls["close"] += 1
        self.closed = True

    async def _enter(self, method: str, path: str | None = None) -> None:
        """Counts the call, lets other tasks run as a real store would, and fails where told to."""
        self.calls[method] += 1
        if path is not None and not _PATH.fullmatch(path):
            raise ValueError(
                "not a path of the store: expected lower-case letters, digits, hyphens, underscores and inner slashes"
            )
        await asyncio.sleep(0)
        if self.fail_with is not None and (not self.fail_only or method in self.fail_only):
            raise self.fail_with
