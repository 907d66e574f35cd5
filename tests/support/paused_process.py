"""A process that is stopped for a while, as by a machine that is moved, and goes on without knowing of it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from support.fake_store import FakeStateStore
from valetkey_broker.ports import Document


class PausingStore(FakeStateStore):
    """The shared store as a process sees it that is stopped before its call number `at`, until `go_on` is set.

    Whatever it asks meanwhile it asks then. `reached` is set when it is stopped.
    """

    def __init__(self, shared: FakeStateStore, at: int) -> None:
        super().__init__()
        self._shared = shared
        self._left = at
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def read(self, path: str, version: int | None = None) -> Document | None:
        await self.pause()
        return await self._shared.read(path, version)

    async def newest(self, path: str) -> int:
        await self.pause()
        return await self._shared.newest(path)

    async def names(self, folder: str) -> Sequence[str]:
        await self.pause()
        return await self._shared.names(folder)

    async def write(self, path: str, data: Mapping[str, Any], *, expected: int) -> int:
        await self.pause()
        return await self._shared.write(path, data, expected=expected)

    async def destroy(self, path: str, versions: Sequence[int]) -> None:
        await self.pause()
        await self._shared.destroy(path, versions)

    def stop(self) -> None:
        """Has the process be stopped before its next call."""
        self._left = 0

    async def pause(self) -> None:
        """Waits where the process is stopped; what else a process calls may ask this, too."""
        if self._left == 0:
            self.reached.set()
        self._left -= 1
        if self.reached.is_set():
            await self.go_on.wait()
