"""Connections whose answers end in time as a whole: a timeout of sockets counts anew for each piece that comes."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3.connection
from requests.adapters import HTTPAdapter

_this_thread = threading.local()


@contextmanager
def answers_end_within(seconds: float) -> Iterator[None]:
    """Has what this thread reads from the sockets below time out after `seconds`, however much came until then."""
    _this_thread.ends = time.monotonic() + seconds
    try:
        yield
    finally:
        del _this_thread.ends


def _limit(reading: socket.socket) -> None:
    ends = getattr(_this_thread, "ends", None)
    if ends is None:
        return
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("the answer did not end in time")
    reading.settimeout(left)


class _TlsSocket(ssl.SSLSocket):
    def read(self, *arguments: Any, **named: Any) -> Any:
        """Reads what is there; every way of reading leads here."""
        _limit(self)
        return super().read(*arguments, **named)


class _PlainSocket(socket.socket):
    def recv_into(self, *arguments: Any, **named: Any) -> int:
        """Reads what is there; it is what files made of a socket call."""
        _limit(self)
        return super().recv_into(*arguments, **named)


def bounded(trust: ssl.SSLContext) -> ssl.SSLContext:
    """Returns `trust`, whose connections are bounded from now on."""
    trust.sslsocket_class = _TlsSocket
    return trust


def _bounded(connected: socket.socket) -> socket.socket:
    timeout = connected.gettimeout()
    plain = _PlainSocket(connected.family, connected.type, connected.proto, fileno=connected.detach())
    plain.settimeout(timeout)
    return plain


class PlainConnection(http.client.HTTPConnection):
    """A connection without TLS."""

    def connect(self) -> None:
        """Connects."""
        super().connect()
        self.sock = _bounded(self.sock)


class _PooledConnection(urllib3.connection.HTTPConnection):
    def connect(self) -> None:
        """Connects."""
        super().connect()
        self.sock = _bounded(self.sock)


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PooledConnection


class PlainTransport(HTTPAdapter):
    """Connections without TLS, as to an agent of Vault's on this machine."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Makes the pool of connections."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool}
