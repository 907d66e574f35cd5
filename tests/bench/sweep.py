"""Sweeps of a large account in a server under load: the real reading of Azure's pages, without the network."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from azure.core.pipeline.transport import AsyncHttpTransport

from bench.load import BenchError
from valetkey_broker.adapters.azure.blob_storage import BlobStorage
from valetkey_broker.adapters.azure.error_advice import Identity
from valetkey_broker.adapters.azure.errors import Asking, Step
from valetkey_broker.concurrency.cooperative_slices import slices
from valetkey_broker.connectors.known_containers import KnownContainers
from valetkey_broker.model import CloudProfile, Container

CONTAINERS = 25_000
MOST_TIMES = 3.0
_PAGE = 5_000
_BLOCK = 4096
_FIRST_SWEEP_SECONDS = 60
_ITEM = (
    "<Container><Name>container-{:06}</Name><Properties><Last-Modified>Fri, 27 Nov 2026 05:12:21 GMT</Last-Modified>"
    "<Etag>0x8DC000000000000</Etag><LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
    "<DefaultEncryptionScope>$account-encryption-key</DefaultEncryptionScope>"
    "<DenyEncryptionScopeOverride>false</DenyEncryptionScopeOverride><HasImmutabilityPolicy>false"
    "</HasImmutabilityPolicy><HasLegalHold>false</HasLegalHold><ImmutableStorageWithVersioningEnabled>false"
    "</ImmutableStorageWithVersioningEnabled></Properties></Container>"
)


class _Pages(AsyncHttpTransport[Any, Any]):
    """Answers listings with pages that were made at the start."""

    def __init__(self) -> None:
        self._pages = [_page(start) for start in range(0, CONTAINERS, _PAGE)]

    def transport(self, _url: str) -> "_Pages":
        """Returns itself: it stands in for the network, too."""
        return self

    async def send(self, request: Any, **_config: Any) -> Any:
        body = self._pages[int(parse_qs(urlsplit(request.url).query).get("marker", ["0"])[0])]

        async def blocks() -> AsyncIterator[bytes]:
            for start in range(0, len(body), _BLOCK):
                yield body[start : start + _BLOCK]

        return SimpleNamespace(request=request, status_code=200, reason="OK", headers={}, iter_bytes=blocks)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


def _page(start: int) -> bytes:
    items = "".join(map(_ITEM.format, range(start, start + _PAGE)))
    following = start // _PAGE + 1
    marker = following if following * _PAGE < CONTAINERS else ""
    return (
        f"<EnumerationResults><Containers>{items}</Containers><NextMarker>{marker}</NextMarker></EnumerationResults>"
    ).encode()


class Sweeper:
    """Sweeps one after the other while it is on, and writes into a file how many there were."""

    def __init__(self, profile: CloudProfile, count_file: Path) -> None:
        self._profile = profile
        self._file = count_file
        self._count = 0
        self._task: asyncio.Task[None] | None = None

    def toggle(self) -> None:
        """Begins, or ends."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._sweep())
        else:
            self._task.cancel()
            self._task = None

    async def _sweep(self) -> None:
        pages: Any = _Pages()
        known = KnownContainers()
        while True:
            storage = BlobStorage(
                self._profile, pages, None, "manyofthem", Asking(Step.CONTAINERS, "many", Identity("nobody"))
            )
            found: list[Container] = []
            async for some in slices(await storage.names(), in_background=True):  # As the adapter does.
                found += [Container.of(self._profile, "manyofthem", name) for name in some]
            await known.listed("manyofthem", found, time.time())
            if len(known.by_name) != CONTAINERS:
                raise BenchError(f"a sweep found {len(known.by_name)} containers")
            self._count += 1
            self._file.write_text(str(self._count), encoding="ascii")


@contextlib.contextmanager
def sweeps(pid: int, count_file: Path, *, whole: bool) -> Iterator[None]:
    """Lets the server `pid` sweep. Raises BenchError unless a `whole` sweep was made meanwhile, where one has to be."""

    def count() -> int:
        return int(count_file.read_text(encoding="ascii") or 0) if count_file.exists() else 0

    before = count()
    os.kill(pid, signal.SIGUSR1)
    try:
        until = time.monotonic() + _FIRST_SWEEP_SECONDS
        while count() == before:  # Making the pages is over then.
            if time.monotonic() > until:
                raise BenchError("the server made no sweep")
            time.sleep(0.05)
        during = count()
        yield
        if whole and count() == during:
            raise BenchError("no sweep ended during a round: use more --requests")
    finally:
        os.kill(pid, signal.SIGUSR1)
