"""Remembers which accounts have which containers, for connectors that serve all they reach."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from valetkey_broker.concurrency.retry_later import Later, share
from valetkey_broker.errors import cloud_timeout
from valetkey_broker.model import Connector, Container, Credential
from valetkey_broker.ports import Clock, Cloud

_ASK_AGAIN_SECONDS = 5.0


@dataclass(slots=True)
class _Listing:
    by_name: dict[str, tuple[Container, ...]] = field(default_factory=dict)
    read_at: float = float("-inf")
    reading: asyncio.Task[None] | None = None
    later: Later = field(default_factory=Later)


class ContainerDirectory:
    """Listings per connector, read on demand, single-flight, re-read behind the callers' backs when they get old."""

    def __init__(
        self,
        *,
        cloud: Cloud,
        credential: Callable[[Connector], Awaitable[Credential]],
        clock: Clock,
        fresh_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self._cloud = cloud
        self._credential = credential
        self._clock = clock
        self._fresh = fresh_seconds
        self._timeout = timeout_seconds
        self._listings: dict[str, _Listing] = {}

    def known(self, connector: Connector, container: str) -> Sequence[Container]:
        """Returns the containers of that name in memory; the hot path: no waiting, no I/O."""
        listing = self._listings.get(connector.uid)
        if listing is None:
            return ()
        now = self._clock()
        if now - listing.read_at > self._fresh and now >= listing.later.until and listing.reading is None:
            self._read(listing, connector)
        return listing.by_name.get(container, ())

    async def find(self, connector: Connector, container: str) -> Sequence[Container]:
        """Returns the containers of that name, asking Azure where memory has none.

        A name that is not there is looked up again every few seconds at most. Raises BrokerError of ports.Cloud.
        """
        known = self.known(connector, container)
        if known:
            return known
        listing = self._listings.setdefault(connector.uid, _Listing())
        if self._clock() - listing.read_at >= _ASK_AGAIN_SECONDS:
            listing.later.check(self._clock())
            await share(listing.reading or self._read(listing, connector), connector)
        return listing.by_name.get(container, ())

    def forget(self, connector_uid: str) -> None:
        """Drops the listing of a connector that went away."""
        listing = self._listings.pop(connector_uid, None)
        if listing is not None and listing.reading is not None:
            listing.reading.cancel()

    async def close(self) -> None:
        """Ends what is under way."""
        tasks = [listing.reading for listing in self._listings.values() if listing.reading is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listings.clear()

    def _read(self, listing: _Listing, connector: Connector) -> asyncio.Task[None]:
        def done(task: asyncio.Task[None]) -> None:
            listing.reading = None
            error = None if task.cancelled() else task.exception()  # Also marks the exception as seen.
            if error is None:
                return
            listing.later.heard(error, self._clock())
            if listing.by_name:
                # Old knowledge beats none; asks again soon, not at every call.
                listing.read_at = self._clock() - self._fresh + _ASK_AGAIN_SECONDS

        listing.reading = asyncio.create_task(self._listed(listing, connector), name=f"containers {connector.name}")
        listing.reading.add_done_callback(done)
        return listing.reading

    async def _listed(self, listing: _Listing, connector: Connector) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                credential = await self._credential(connector)
                found = await self._cloud.find_containers(connector, credential)
        except TimeoutError:
            raise cloud_timeout(connector.name, self._timeout) from None
        by_name: dict[str, tuple[Container, ...]] = {}
        for container in found:
            by_name[container.name] = (*by_name.get(container.name, ()), container)
        listing.by_name = by_name
        listing.read_at = self._clock()
