"""Connections to the broker, each of one person, kept for as long as that person clicks."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from valetkey import AsyncClient

# A handshake costs more than a call; a bearer that nobody uses is not to stay in memory.
IDLE_SECONDS = 60.0
# Connections at once, each some 100 kB; more are made and closed with their request.
MOST = 128
# Of those more, and of log-ins under way: so many at once, and the others wait for their turn. A log-in that fails
# takes over a second, for its key may be too new to be known everywhere; others are not to wait long behind such.
MOST_MORE = 64
MOST_TRIALS = 128
# Seconds for one call with all its tries: people wait.
TIMEOUT = 30.0


@dataclass(slots=True)
class _Kept:
    client: AsyncClient
    users: int = 0
    ending: asyncio.TimerHandle | None = None


class Clients:
    """Lends the client of a bearer. The console has no identity of its own, and so no client of its own."""

    def __init__(self, endpoint: str, ca_file: Path | None, idle_seconds: float = IDLE_SECONDS) -> None:
        """Raises SettingsError of `valetkey` where the endpoint or the CA file cannot be used."""
        self._endpoint = endpoint
        self._ca_file = ca_file
        self._idle_seconds = idle_seconds
        self._kept: dict[bytes, _Kept] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._more = asyncio.Semaphore(MOST_MORE)
        self._trials = asyncio.Semaphore(MOST_TRIALS)
        self._new("checked-now-and-not-at-the-first-call")

    @contextlib.asynccontextmanager
    async def of(self, bearer: str) -> AsyncIterator[AsyncClient]:
        """Lends the client that shows `bearer`, an API key or an access token.

        Raises SettingsError of `valetkey` for what no header can carry.
        """
        key = _key(bearer)
        kept = self._kept.get(key)
        if kept is None and len(self._kept) >= MOST:
            async with self._more, self._unkept(bearer) as client:
                yield client
            return
        if kept is None:
            kept = self._kept[key] = _Kept(self._new(bearer))
        kept.users += 1
        if kept.ending is not None:
            kept.ending.cancel()
            kept.ending = None
        try:
            yield kept.client
        finally:
            kept.users -= 1
            if self._kept.get(key) is kept and not kept.users:
                kept.ending = asyncio.get_running_loop().call_later(self._idle_seconds, self._end, key)

    @contextlib.asynccontextmanager
    async def trial(self, bearer: str) -> AsyncIterator[AsyncClient]:
        """Lends a client to find out whether `bearer` is one; nothing of it stays. Raises what `of` raises."""
        async with self._trials, self._unkept(bearer) as client:
            yield client

    async def forget(self, bearer: str) -> None:
        """Closes the connection of somebody who logged out; one that is in use ends as others do."""
        kept = self._kept.get(_key(bearer))
        if kept is not None and not kept.users:
            if kept.ending is not None:
                kept.ending.cancel()
            await self._kept.pop(_key(bearer)).client.close()

    async def close(self) -> None:
        """Closes all connections."""
        for kept in self._kept.values():
            if kept.ending is not None:
                kept.ending.cancel()
            await kept.client.close()
        self._kept.clear()
        await asyncio.gather(*self._closing)

    @contextlib.asynccontextmanager
    async def _unkept(self, bearer: str) -> AsyncIterator[AsyncClient]:
        client = self._new(bearer)
        try:
            yield client
        finally:
            await client.close()

    def _new(self, bearer: str) -> AsyncClient:
        # To the client, whatever is shown as it is counts as an API key; access tokens of a log-in, too.
        return AsyncClient(self._endpoint, api_key=bearer, ca_file=self._ca_file, timeout=TIMEOUT)

    def _end(self, key: bytes) -> None:
        task = asyncio.get_running_loop().create_task(self._kept.pop(key).client.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _key(bearer: str) -> bytes:
    return hashlib.sha256(bearer.encode()).digest()
