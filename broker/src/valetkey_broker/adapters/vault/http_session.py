"""Connections to Vault, by TLS that follows the CA file; what only reads outlives one that breaks off."""

import ssl
import threading
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from valetkey_broker.adapters.vault.bounded_sockets import bounded
from valetkey_broker.adapters.vault.broken_connections import broke_off
from valetkey_broker.watched_files import WatchedFiles

_READS = ("GET", "HEAD", "LIST")


class Session(requests.Session):
    """Asks once more where a connection breaks off before the whole answer is here, but for what may change something.

    Vault, and what is before it, close connections that they have kept for long, or as they stop, at times just as the
    next request is on its way. The new one goes to whoever is there now.
    """

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Sends a request. Raises as requests does."""
        try:
            return super().send(request, **options)
        except requests.RequestException as error:
            if request.method not in _READS or not broke_off(error):
                raise
        return super().send(request, **options)


class Transport(HTTPAdapter):
    """Connections verified by the CAs as their file has them now, whatever `verify` of a request says.

    Once the CAs have changed, the next request connects anew; requests under way end on the connections they have.
    May be used from `connections` threads at once.
    """

    def __init__(self, trust: WatchedFiles[ssl.SSLContext], connections: int) -> None:
        self._trust = trust
        self._in_use: ssl.SSLContext | None = None
        self._changing = threading.Lock()
        super().__init__(pool_connections=1, pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Makes the pool of connections."""
        super().init_poolmanager(*args, ssl_context=self._in_use, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Returns the pool of connections through a proxy."""
        return super().proxy_manager_for(proxy, ssl_context=self._in_use, **options)

    def cert_verify(self, conn: Any, *_: Any, **__: Any) -> None:
        """Adds no CAs: requests would load certifi's, or the file, into the context of each new connection."""
        conn.cert_reqs = "CERT_REQUIRED"

    def send(self, *args: Any, **options: Any) -> requests.Response:
        """Sends a request. Raises ConfigurationError where there never was a usable CA file, and as requests does."""
        trust = self._trust.current()
        with self._changing:
            if trust is not self._in_use:
                self._in_use = bounded(trust)
                before = [self.poolmanager, *self.proxy_manager.values()]
                self.init_poolmanager(self._pool_connections, self._pool_maxsize)
                self.proxy_manager.clear()
                for pool in before:
                    pool.clear()
        return super().send(*args, **options)
