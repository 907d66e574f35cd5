"""The place on this machine that a browser comes back to (RFC 8252, section 7.3)."""

import hmac
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from valetkey.errors import SettingsError, UnauthenticatedError

_PATH = "/callback"
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Valet Key</title>'
    '<p style="font:1.2rem sans-serif;margin:3rem">{}</p></html>'
)
_CONNECTION_SECONDS = 10.0
_MOST_FIELDS = 20


class Loopback:
    """Waits on 127.0.0.1 for the one request that brings `state` back; all others are turned away."""

    def __init__(self, server: "_Server") -> None:
        self._server = server

    @property
    def redirect_uri(self) -> str:
        """Where the issuer is to send the browser."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._server.path}"

    def answer(self, seconds: float) -> Mapping[str, str]:
        """Returns what the issuer sent along. Raises UnauthenticatedError where nothing came in time."""
        try:
            return self._server.answers.get(timeout=seconds)
        except Empty:
            raise UnauthenticatedError(
                f"nobody logged in within {seconds:g} s; try again, or without a browser: valetkey login --device"
            ) from None


@contextmanager
def listening(state: str, port: int, part: str = "") -> Iterator[Loopback]:
    """Listens on a port, 0 for a free one, while the block runs. Raises SettingsError where that is taken.

    `part` is what the path ends with, as `code_flow.callback_part` gives it.
    """
    try:
        server = _Server(("127.0.0.1", port), _Request)
    except OSError as error:
        raise SettingsError(f"--port: {port} on 127.0.0.1 cannot be used: {error.strerror}") from None
    with server:
        server.state, server.path = state, _PATH + part
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="valetkey-login", daemon=True)
        thread.start()
        try:
            yield Loopback(server)
        finally:
            server.shutdown()
            thread.join()


class _Server(socketserver.ThreadingTCPServer):
    """A thread for each connection: one that says nothing keeps no other out."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16
    state, path = "", _PATH

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.answers: SimpleQueue[Mapping[str, str]] = SimpleQueue()
        self.taken = threading.Lock()

    def handle_error(self, *_: Any) -> None:
        """Says nothing: whoever sent nonsense knows, and nobody else needs to."""


class _Request(BaseHTTPRequestHandler):
    server: _Server
    timeout = _CONNECTION_SECONDS
    server_version, sys_version = "valetkey", ""

    def do_GET(self) -> None:
        """Takes the first answer that brings the state back."""
        parts = urlsplit(self.path)
        if parts.path != self.server.path:
            self._show(404, "There is nothing here.")
            return
        try:
            fields = parse_qsl(parts.query, max_num_fields=_MOST_FIELDS)
        except ValueError:
            fields = []
        found = dict(fields)
        if len(found) < len(fields) or not hmac.compare_digest(
            found.get("state", "").encode(), self.server.state.encode()
        ):
            self._show(400, "This is not the answer that valetkey login waits for. Nothing was done.")
        elif not self.server.taken.acquire(blocking=False):
            self._show(400, "The answer has come already. Nothing was done.")
        else:
            said = "did not log you in" if "error" in found else "has answered"
            self._show(200, f"Your issuer {said}. You may close this page; the terminal says more.")
            self.server.answers.put(found)

    def _show(self, status: int, text: str) -> None:
        body = _PAGE.format(text).encode()
        self.send_response(status)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing: the line would hold the code."""
