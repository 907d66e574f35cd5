"""Keeps user delegation keys: fetched once for hours, renewed in the background, never twice at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from valetkey_broker.concurrency.retry_later import Later, share
from valetkey_broker.errors import BrokerError, cloud_timeout
from valetkey_broker.model import Connector, Credential, DelegationKey
from valetkey_broker.ports import Clock, Cloud

_AZURE_MAX_SECONDS = 7 * 24 * 3600  # https://learn.microsoft.com/rest/api/storageservices/get-user-delegation-key
_RENEW_AFTER_SHARE = 0.5
_BACKGROUND_RETRY_SECONDS = 30.0
# The key begins a little before the earliest token it signs.
_MARGIN_SECONDS = 60.0

_Id = tuple[str, int, str]


@dataclass(slots=True)
class _Entry:
    key: DelegationKey | None = None
    renew_at: float = 0.0
    fetching: asyncio.Task[DelegationKey] | None = None
    later: Later = field(default_factory=Later)


class DelegationKeys:
    """One key per (connector, credential version, account). Failures are not kept, save Azure's own "later"."""

    def __init__(
        self,
        *,
        cloud: Cloud,
        credential: Callable[[Connector], Awaitable[Credential]],
        clock: Clock,
        key_seconds: int,
        skew_seconds: int,
        timeout_seconds: float,
    ) -> None:
        self._cloud = cloud
        self._credential = credential
        self._clock = clock
        self._key_seconds = key_seconds
        self._skew = skew_seconds
        self._timeout = timeout_seconds
        self._entries: dict[_Id, _Entry] = {}
        self._log = structlog.get_logger()

    def held(self, connector: Connector, account: str, until: float) -> DelegationKey | None:
        """Returns the key in memory if it is good until `until` (Unix seconds); starts its renewal when that is due.

        The hot path: no waiting, no I/O.
        """
        entry = self._entries.get((connector.uid, connector.credential_version, account))
        if entry is None or entry.key is None or entry.key.expires < until:
            return None
        if self._clock() >= entry.renew_at and entry.fetching is None:
            self._fetch(entry, connector, account, background=True)
        return entry.key

    async def get(self, connector: Connector, account: str, until: float) -> DelegationKey:
        """Returns a key good until `until`, fetching one where needed: one fetch, however many wait for it.

        With Azure away, returns the key at hand as long as it is good for another minute, though it ends before
        `until`; the caller shortens the token. Raises BrokerError of ports.Cloud.
        """
        key = self.held(connector, account, until)
        if key is not None:
            return key
        entry = self._entries.setdefault((connector.uid, connector.credential_version, account), _Entry())
        try:
            entry.later.check(self._clock())
            return await share(entry.fetching or self._fetch(entry, connector, account, background=False), connector)
        except BrokerError as error:
            if entry.key is not None and entry.key.expires - 60 > self._clock():
                self._log.warning(
                    "issuing from a delegation key that ends early",
                    reason=error.reason.name,
                    connector=connector.name,
                    account=account,
                )
                return entry.key
            raise

    def forget(self, connector_uid: str) -> None:
        """Drops the keys of a connector that went away."""
        for known in [known for known in self._entries if known[0] == connector_uid]:
            entry = self._entries.pop(known)
            entry.key = None  # Callers who wait right now must not fall back on it.
            if entry.fetching is not None:
                entry.fetching.cancel()

    async def close(self) -> None:
        """Ends what is under way."""
        tasks = [entry.fetching for entry in self._entries.values() if entry.fetching is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._entries.clear()

    def _fetch(
        self, entry: _Entry, connector: Connector, account: str, *, background: bool
    ) -> asyncio.Task[DelegationKey]:
        task = asyncio.create_task(self._fetched(entry, connector, account), name=f"delegation-key {connector.name}")
        entry.fetching = task
        task.add_done_callback(lambda done: self._done(done, entry, connector, background=background))
        return task

    async def _fetched(self, entry: _Entry, connector: Connector, account: str) -> DelegationKey:
        now = self._clock()
        starts = now - self._skew - _MARGIN_SECONDS
        expires = min(now + self._key_seconds, starts + _AZURE_MAX_SECONDS)
        try:
            async with asyncio.timeout(self._timeout):
                credential = await self._credential(connector)
                key = await self._cloud.delegation_key(connector, credential, account, starts=starts, expires=expires)
        except TimeoutError:
            raise cloud_timeout(connector.name, self._timeout) from None
        entry.key = key
        entry.renew_at = now + (key.expires - now) * _RENEW_AFTER_SHARE
        return key

    def _done(
        self, task: asyncio.Task[DelegationKey], entry: _Entry, connector: Connector, *, background: bool
    ) -> None:
        entry.fetching = None
        error = None if task.cancelled() else task.exception()  # Also marks the exception as seen.
        if error is None:
            return
        now = self._clock()
        entry.later.heard(error, now)
        if entry.key is not None:
            entry.renew_at = max(now + _BACKGROUND_RETRY_SECONDS, entry.later.until)
        if background:
            reason = error.reason.name if isinstance(error, BrokerError) else type(error).__qualname__
            self._log.warning(
                "a delegation key was not renewed; will try again",
                connector=connector.name,
                reason=reason,
                seconds=_BACKGROUND_RETRY_SECONDS,
            )
