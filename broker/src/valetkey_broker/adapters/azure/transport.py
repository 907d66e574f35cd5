"""One HTTPS connection pool per cloud profile, shared by all clients of all connectors."""

import json
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.core.pipeline.transport import AioHttpTransport, AsyncHttpTransport

from valetkey_broker.adapters.azure.clock_skew import ClockSkew
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.model import CloudProfile
from valetkey_broker.watched_files import WatchedFiles, trusted_cas

# What every Azure client is built with. Retries are ours (errors.py): azure-core would sleep as long as
# Retry-After says, while a caller waits. Redirects are off, and so is the logging of bodies.
CLIENT_OPTIONS: dict[str, Any] = {"retry_total": 0, "permit_redirects": False, "logging_enable": False}
# On the same machine nothing takes long; and where there is no such service, its address may answer nothing at all.
_NEIGHBOUR_SECONDS = 2.0
_BUSY = frozenset({429, 500, 502, 503, 504})
_OK = 200


class Network:
    """The connections to one cloud, through the proxy of its profile if it has one; none of the environment is used.

    Changed CAs count from the next request on.
    """

    def __init__(self, profile: CloudProfile, connect_seconds: float, read_seconds: float) -> None:
        ca_file = Path(profile.ca_file) if profile.ca_file else None
        self._trust = trusted_cas(f"the CAs of cloud {profile.name}", f"clouds.{profile.name}.ca_file", ca_file)
        self.skew = ClockSkew(profile.name)
        self._timeouts = {"connection_timeout": connect_seconds, "read_timeout": read_seconds}
        self._session = _session(profile.proxy)
        self._neighbours: aiohttp.ClientSession | None = None

    def transport(self, url: str, *, busy_raises: bool = False) -> "PinnedTransport":
        """Returns a transport that reaches the host and port of `url` and nothing else.

        With `busy_raises`, 429 and 5xx raise HttpResponseError at once, for clients that would lose the headers.
        """
        return PinnedTransport(url, self._session, self._trust, self.skew, busy_raises=busy_raises, **self._timeouts)

    def neighbour_transport(self, url: str) -> "PinnedTransport":
        """Returns a transport to a service of the broker's own machine: without a proxy, and soon tired of waiting."""
        if self._neighbours is None:
            self._neighbours = _session("")
        timeouts = {
            **self._timeouts,
            "connection_timeout": min(_NEIGHBOUR_SECONDS, self._timeouts["connection_timeout"]),
        }
        return PinnedTransport(url, self._neighbours, self._trust, None, busy_raises=True, **timeouts)

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()
        if self._neighbours is not None:
            await self._neighbours.close()


class WrappingTransport(AsyncHttpTransport[Any, Any]):
    """A transport that looks at what another one answers; subclasses say how, in `send`."""

    def __init__(self, inner: AsyncHttpTransport[Any, Any]) -> None:
        self._inner = inner

    async def open(self) -> None:
        """Opens nothing: the connections are the network's."""

    async def close(self) -> None:
        """Closes nothing: the connections are the network's."""

    async def __aenter__(self) -> Self:
        """Opens nothing."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        return None


class EndlessListError(ValueError):
    """Pages of a list that lead back to one that was there, or go on without an end; its words may be shown."""


class BoundedPages(WrappingTransport):
    """A transport for the pages of one list: one that leads in a circle, or nowhere, ends.

    The SDKs follow links for as long as there are any.
    """

    def __init__(self, inner: AsyncHttpTransport[Any, Any], most: int = 1_000) -> None:
        super().__init__(inner)
        self._had: set[str] = set()
        self._most = most

    async def send(self, request: Any, **config: Any) -> Any:
        """Sends `request`. Raises EndlessListError for a page that was answered before, and for one too many.

        Raises ValueError for an answer that is no page: the SDKs would take it for an empty one, and nothing for gone.
        """
        if request.url in self._had:
            raise EndlessListError("the list leads back to a page that was there before")
        if len(self._had) >= self._most:
            raise EndlessListError("the list has too many pages")
        response = await self._inner.send(request, **config)
        if response.status_code != _OK:  # It may be asked for again, with another token say.
            return response
        self._had.add(request.url)
        return self.page(response)

    def page(self, response: Any) -> Any:
        """Returns a page for the SDK. Raises ValueError for what is none."""
        read_page(response)
        return response


def read_page(response: Any) -> dict[str, Any]:
    """Returns the page of a list, as Azure Resource Manager writes it. Raises ValueError for anything else."""
    said = json.loads(response.text())
    if isinstance(said, dict) and isinstance(said.get("value"), list):
        return said
    raise ValueError("the answer is not the page of a list")


class PinnedTransport(AioHttpTransport):  # type: ignore[misc]  # azure-core exports it lazily, as Any
    """A transport for one origin: a next-page link or a redirect to elsewhere never gets a token sent along."""

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        trust: WatchedFiles[ssl.SSLContext],
        skew: ClockSkew | None,
        *,
        busy_raises: bool,
        **options: Any,
    ) -> None:
        super().__init__(session=session, session_owner=False, **options)
        self._trust, self._skew = trust, skew
        self._origin = _origin(url)
        self._busy_raises = busy_raises

    async def send(self, request: Any, **config: Any) -> Any:
        """Sends `request`. Raises ServiceRequestError where it would go to another origin."""
        if _origin(request.url) != self._origin:
            raise ServiceRequestError("refused to follow a link to another host")
        try:
            trust = self._trust.current()
        except ConfigurationError:
            raise ServiceRequestError("the CA file of the cloud profile cannot be used") from None
        asked = self._skew.clock() if self._skew is not None else 0.0
        response = await super().send(request, ssl=trust, **config)
        if self._skew is not None:
            self._skew.heard(response.headers.get("Date"), asked)
        if self._busy_raises and response.status_code in _BUSY:
            raise HttpResponseError(response=response)
        return response


def _session(proxy: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        # azure-core unpacks bodies itself.
        auto_decompress=False,
        trust_env=False,
        proxy=proxy or None,
    )


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower().removesuffix(":443")
