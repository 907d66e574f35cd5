"""Public keys over HTTPS, by OpenID Connect discovery or from a URL that the operator gives."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from valetkey_broker.adapters.oidc.issuer_document import MAX_BYTES, read_object
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.model import Secret
from valetkey_broker.ports import KeySourceError
from valetkey_broker.watched_files import CHECK_SECONDS, WatchedFiles, trusted_cas

# OpenID Connect Discovery 1.0, section 4.
_DISCOVERY = "/.well-known/openid-configuration"
# A Kubernetes API server gives its keys to nobody who does not ask for the second.
_ACCEPTED = "application/json, application/jwk-set+json"
_OK = 200
_NOT_LET_IN = (401, 403)


class HttpKeySource:
    """Asks the issuer each time; caching is the caller's. No redirects, no proxies of the environment, no cookies.

    The bearer token goes to the issuer's own host, and to the host of a `jwks_uri` that the operator gave; never
    to one that a document named.
    """

    def __init__(
        self,
        issuer: str,
        *,
        jwks_uri: str = "",
        ca_file: Path | None = None,
        bearer_token_file: Path | None = None,
        proxy: str = "",
        timeout_seconds: float = 5.0,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._issuer = issuer
        self._jwks_uri = jwks_uri
        self._proxy = proxy or None
        # CAs and projected tokens are renewed in place.
        named = f"issuer {issuer}: "
        self._trust = trusted_cas(
            f"the CAs of issuer {issuer}", f"{named}ca_file", ca_file, check_seconds=check_seconds
        )
        self._token: WatchedFiles[Secret] | None = None
        if bearer_token_file is not None:
            files = {f"{named}bearer_token_file": bearer_token_file}
            self._token = WatchedFiles(f"the token for issuer {issuer}", files, _token, check_seconds=check_seconds)
        self._timeout = timeout_seconds

    async def fetch(self) -> Mapping[str, Any]:
        """Returns the JWKS. Raises KeySourceError, within the timeout for all of it."""
        try:
            async with asyncio.timeout(self._timeout):
                trust = await asyncio.to_thread(self._trust.current)
                headers = await asyncio.to_thread(self._headers)
                async with aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=trust), cookie_jar=aiohttp.DummyCookieJar(), proxy=self._proxy
                ) as session:
                    uri = self._jwks_uri
                    if not uri:
                        uri = await self._discover(session, headers)
                        if urlsplit(uri).netloc != urlsplit(self._issuer).netloc:
                            headers = {}
                    return await _get(session, uri, headers)
        except TimeoutError:
            raise KeySourceError(f"no answer within {self._timeout:g} s") from None
        except ConfigurationError as error:
            raise KeySourceError(str(error)) from None
        except (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError) as error:
            raise KeySourceError(f"its proxy {self._proxy} cannot be used: {type(error).__name__}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise KeySourceError(f"cannot be reached: {type(error).__name__}") from None

    async def close(self) -> None:
        """Has nothing to close: a fetch every few minutes is not worth a connection kept open."""

    async def _discover(self, session: aiohttp.ClientSession, headers: Mapping[str, str]) -> str:
        document = await _get(session, self._issuer.removesuffix("/") + _DISCOVERY, headers)
        if document.get("issuer") != self._issuer:
            raise KeySourceError(
                "the discovery document is another issuer's; compare its 'issuer', character by character"
            )
        uri = document.get("jwks_uri")
        parts = urlsplit(uri) if isinstance(uri, str) else None
        if parts is None or parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
            raise KeySourceError("the discovery document has no https jwks_uri")
        return str(uri)

    def _headers(self) -> dict[str, str]:
        return {} if self._token is None else {"Authorization": f"Bearer {self._token.current().reveal()}"}


def _token(contents: Mapping[str, bytes]) -> Secret:
    ((setting, content),) = contents.items()
    try:
        # One word: anything else would be another header.
        (value,) = content.decode("ascii").split()
    except ValueError:
        raise ConfigurationError(f"{setting}: the file holds no token; expected one line, a JWT") from None
    return Secret(value)


async def _get(session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    # Not compressed: a small answer must not unfold into a large one.
    wanted = {"Accept": _ACCEPTED, "Accept-Encoding": "identity", **headers}
    async with session.get(url, headers=wanted, allow_redirects=False) as answer:
        host = urlsplit(url).hostname
        if answer.status in _NOT_LET_IN:
            raise KeySourceError(
                f"{host} answered with status {answer.status}; it wants a token of the broker's own in "
                "bearer_token_file: of a Kubernetes API server, the service account's token without an audience, not "
                "one for the audience of callers"
            )
        if answer.status != _OK:
            raise KeySourceError(
                f"{host} answered with status {answer.status}; expected {_OK}, redirects are not followed"
            )
        if "Content-Encoding" in answer.headers:
            raise KeySourceError(f"{host} answered compressed, which was not asked for")
        raw = bytearray()
        async for chunk in answer.content.iter_chunked(16 * 1024):
            raw += chunk
            if len(raw) > MAX_BYTES:
                break
        return read_object(bytes(raw), f"the document of {host}")
