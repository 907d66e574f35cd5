"""The state store on Vault's KV v2."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from valetkey_broker.adapters.vault.blocking_calls import THREADS, Calls
from valetkey_broker.adapters.vault.client import VaultClient
from valetkey_broker.adapters.vault.errors import DENIED
from valetkey_broker.adapters.vault.login import Login
from valetkey_broker.adapters.vault.setup_warnings import Fitness
from valetkey_broker.errors import BrokerError
from valetkey_broker.ports import Document
from valetkey_broker.settings import VaultSettings

P = ParamSpec("P")
T = TypeVar("T")

# What is checked here is what is sent: no dots, nothing that a URL or a policy would read differently.
_PATH = re.compile(r"[a-z0-9_-]+(?:/[a-z0-9_-]+)*")
# Read at the start; every broker may read it, whether it is there or not.
_PROBE = "generation"
# Vault says 403 to a lapsed token and to a policy that forbids. Where a fresh login did not help, it is the
# policy: then calls do not log in again for this many seconds.
_DENIED_SECONDS = 30.0


class VaultStateStore:
    """A valetkey_broker.ports.StateStore on Vault or OpenBao.

    Logs in as `settings.auth` says, at `open` or at the first call that can. Recovers by itself from a lapsed or
    revoked login, from a restart of Vault, and from a seal.
    """

    def __init__(self, settings: VaultSettings) -> None:
        self._calls = Calls(settings.timeout_seconds)
        self._client = VaultClient(settings, THREADS)
        self._login = Login(self._client, self._calls, settings.auth)
        self._fitness = Fitness(self._client, self._calls, settings.mount)
        self._denied_at: float | None = None

    async def open(self) -> None:
        """Logs in, and reads once to see that mount and policy are there. May be called again.

        What the policy lacks, and an engine that deletes versions by their age, are named in the log.
        """
        try:
            await self.read(_PROBE)
        except BrokerError as error:
            if error.metadata["cause"] == DENIED:
                await self._fitness.look()
            raise
        await self._fitness.look()

    async def read(self, path: str, version: int | None = None) -> Document | None:
        """Returns a version of the document at `path`; see ports.StateStore."""
        return await self._call("reading", self._client.read, _checked(path), version)

    async def read_many(self, paths: Sequence[str]) -> Sequence[Document | None]:
        """Returns the newest documents at `paths`; see ports.StateStore."""
        found = await self._call("reading", self._client.read_quickly, [_checked(path) for path in paths])
        return [found[path] if path in found else await self.read(path) for path in paths]

    async def write(self, path: str, data: Mapping[str, Any], *, expected: int) -> int:
        """Writes the version after `expected`; see ports.StateStore."""
        return await self._call("writing", self._client.write, _checked(path), data, expected)

    async def newest(self, path: str) -> int:
        """Returns the newest version's number; see ports.StateStore."""
        return await self._call("reading", self._client.newest, _checked(path))

    async def names(self, folder: str) -> Sequence[str]:
        """Returns the names below `folder`; see ports.StateStore."""
        return await self._call("listing", self._client.names, _checked(folder))

    async def destroy(self, path: str, versions: Sequence[int]) -> None:
        """Destroys versions for good; see ports.StateStore."""
        await self._call("destroying", self._client.destroy, _checked(path), versions)

    async def secret_id_end(self) -> datetime | None:
        """Returns when the broker's own secret id ends, None where it never does. Raises VAULT_UNAVAILABLE."""
        await self._login.ensure()
        return await self._calls.run("looking at the login", self._client.secret_id_end)

    def token_seconds_left(self) -> float | None:
        """Returns how long the broker's own token lives; None without one, or where it never lapses."""
        return self._login.seconds_left()

    async def close(self) -> None:
        """Gives the login back and closes the connections. Never raises; may be called again."""
        await self._login.close()
        self._calls.close()
        self._client.close()

    async def _call(self, doing: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        generation = await self._login.ensure()
        try:
            return await self._calls.run(doing, function, *args, **kwargs)
        except BrokerError as error:
            # Where another call has logged in meanwhile, the token that this one had was given back.
            with_new_login = self._login.generation != generation
            if error.metadata["cause"] != DENIED or (self._denied_lately() and not with_new_login):
                raise
        # A call that was denied did nothing: it may be repeated, writes too.
        await self._login.anew(generation)
        try:
            return await self._calls.run(doing, function, *args, **kwargs)
        except BrokerError as error:
            if error.metadata["cause"] == DENIED:
                self._denied_at = time.monotonic()
            raise

    def _denied_lately(self) -> bool:
        return self._denied_at is not None and time.monotonic() - self._denied_at < _DENIED_SECONDS


def _checked(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise ValueError(
            "not a path of the store: expected lower-case letters, digits, hyphens, underscores and inner slashes"
        )
    return path
