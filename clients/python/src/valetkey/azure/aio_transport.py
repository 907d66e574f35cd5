"""azure-core's transport for aiohttp, such that connections are used again where a CA file is trusted."""

import ssl
from typing import Any

import aiohttp
from azure.core.pipeline.transport import AioHttpTransport


def aio_transport(**settings: Any) -> AioHttpTransport:
    """Returns a transport with the settings of azure-core's own.

    That one (azure-core 1.41.0, aiohttp 3.14.5) makes a new SSL context for each request where `connection_verify` is
    a file, and aiohttp takes a connection again only for the same context: each request had a handshake of its own.
    """
    ca_file = settings.get("connection_verify", True)
    if isinstance(ca_file, bool) or settings.get("connection_cert") or settings.get("session"):
        return AioHttpTransport(**settings)
    return _WithOneContext(ca_file, **{**settings, "connection_verify": True})


class _WithOneContext(AioHttpTransport):  # type: ignore[misc]  # azure-core loads it late, and tells checkers nothing
    """Has one session with one SSL context, which trusts `ca_file`, a file or a folder."""

    def __init__(self, ca_file: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.session: aiohttp.ClientSession | None
        self._ca_file = ca_file
        self._trust_env = bool(settings.get("use_env_settings", True))

    async def open(self) -> None:
        """Opens the session, in the event loop that it belongs to. Raises OSError where the file cannot be used."""
        # A session that was closed is not opened again: azure-core says so.
        if self.session is None and not self._has_been_opened:
            context = ssl.create_default_context(cafile=self._ca_file)
            self.session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context),
                trust_env=self._trust_env,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        await super().open()
