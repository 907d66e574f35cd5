"""Reads many documents at once, at a fraction of what each costs through hvac and requests."""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from valetkey_broker.adapters.vault.bounded_sockets import PlainConnection, bounded
from valetkey_broker.model import Secret
from valetkey_broker.ports import Document
from valetkey_broker.settings import VaultSettings
from valetkey_broker.watched_files import WatchedFiles


class QuickReads:
    """Reads what is plainly there; whatever is not answered by a document is left to the ordinary way of reading.

    So nothing here has to tell errors apart. Connections are kept and used by one thread at a time. Through a proxy
    nothing is read.
    """

    def __init__(self, settings: VaultSettings, trust: WatchedFiles[ssl.SSLContext]) -> None:
        url = urlsplit(settings.address)
        self._host, self._port, self._tls = url.hostname or "", url.port, url.scheme == "https"
        self._prefix = f"{url.path.rstrip('/')}/v1/{settings.mount}/data/"
        self._namespace = settings.namespace
        self._timeout = settings.timeout_seconds
        self._trust = None if settings.proxy else trust
        self._idle: list[tuple[ssl.SSLContext | None, http.client.HTTPConnection]] = []
        self._lock = threading.Lock()

    def read(self, paths: Sequence[str], token: Secret) -> Mapping[str, Document]:
        """Returns the newest documents at `paths`, as many as it gets in about half of vault.timeout_seconds."""
        found: dict[str, Document] = {}
        if self._trust is None:
            return found
        headers = {"X-Vault-Token": token.reveal(), "X-Vault-Request": "true"}
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        ends = time.monotonic() + self._timeout / 2
        try:
            trust = self._trust.current() if self._tls else None
            connection = self._connection(trust)
            for path in paths:
                if time.monotonic() > ends:
                    break
                connection.request("GET", self._prefix + path, headers=headers)
                answer = connection.getresponse()
                document = _document(answer.status, answer.read())
                if document is not None:
                    found[path] = document
        except Exception:  # noqa: BLE001 (the ordinary way meets it again, and tells what it is)
            return found
        with self._lock:
            self._idle.append((trust, connection))
        return found

    def close(self) -> None:
        """Closes the connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _connection(self, trust: ssl.SSLContext | None) -> http.client.HTTPConnection:
        with self._lock:
            while self._idle:
                trusted, connection = self._idle.pop()
                if trusted is trust:
                    return connection
                connection.close()
        if trust is None:
            return PlainConnection(self._host, self._port, timeout=self._timeout)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=bounded(trust))


def _document(status: int, body: bytes) -> Document | None:
    if status != http.client.OK:
        return None
    outer: Any = json.loads(body)["data"]
    data, version = outer["data"], outer["metadata"]["version"]
    return Document(version=version, data=data) if isinstance(data, dict) and isinstance(version, int) else None
