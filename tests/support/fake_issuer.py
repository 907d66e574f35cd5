"""An OIDC issuer for the client's tests: real HTTPS, answers that a test chooses, everything that was asked kept."""

import base64
import json
import secrets
import socketserver
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from valetkey.login.login_offer import LoginOffer
from valetkey.login.store import Login
from valetkey_devstack.ca import make_ca

AUDIENCE, CLIENT_ID = "the-broker", "the-command-line"
ENDPOINT = "broker.example:8443"
# Writes a log-in of some age, life and refresh token, and returns it.
Keep = Callable[..., Login]


@dataclass
class FakeIssuer:
    """Answers the token endpoint with `answers`, one after the other, and with fresh tokens once they are used up."""

    url: str
    ca_file: Path
    document: dict[str, Any] = field(default_factory=dict)
    answers: list[tuple[int, Any]] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    claims: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    life: int = 3600
    # What happens to each request: "" (answered), hang, drip, huge, redirect, garbage, array, 503.
    trouble: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    def reset(self) -> None:
        """Makes it one that does everything."""
        self.document = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "device_authorization_endpoint": f"{self.url}/device",
            "revocation_endpoint": f"{self.url}/revoke",
            "code_challenge_methods_supported": ["plain", "S256"],
        }
        self.answers, self.forms, self.paths, self.claims, self.more = [], [], [], {}, {}
        self.life, self.trouble = 3600, ""
        self.released = threading.Event()

    @property
    def offer(self) -> LoginOffer:
        """What a broker says of it."""
        return LoginOffer(self.url, CLIENT_ID, ("openid", "offline_access"), AUDIENCE)

    def jwt(self, **claims: Any) -> str:
        """Returns a token; the client checks no signature, and this has none."""
        now = int(time.time())
        found = {"iss": self.url, "aud": AUDIENCE, "iat": now, "exp": now + self.life, "jti": secrets.token_hex(8)}
        parts = ({"alg": "RS256"}, {**found, **self.claims, **claims}, {})
        return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)

    def tokens(self) -> dict[str, Any]:
        """Returns what the token endpoint answers with: a fresh refresh token each time."""
        return {
            "access_token": self.jwt(),
            "token_type": "Bearer",
            "expires_in": self.life,
            "refresh_token": "refresh-" + secrets.token_urlsafe(16),
            **self.more,
        }

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        """Returns status and body for a request."""
        self.paths.append(path)
        if path == "/.well-known/openid-configuration":
            return 200, self.document
        self.forms.append({**form, "path": path})
        if self.answers:
            return self.answers.pop(0)
        return (200, {}) if path == "/revoke" else (200, self.tokens())

    def asked(self, path: str) -> list[dict[str, str]]:
        """Returns the forms that came to an endpoint."""
        return [form for form in self.forms if form["path"] == path]


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads, block_on_close, request_queue_size = True, False, 64
    fake: FakeIssuer

    def handle_error(self, *_: Any) -> None:
        """Says nothing: clients that give up are what is tested."""


class _Request(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._respond({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._respond(dict(parse_qsl(body)))

    def _respond(self, form: dict[str, str]) -> None:
        fake = self.server.fake
        trouble = fake.trouble
        if trouble == "hang":
            fake.paths.append(self.path)
            fake.released.wait(60)
        elif trouble == "drip":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            while not fake.released.wait(0.05):
                self.wfile.write(b" ")
        elif trouble == "huge":
            self._send(200, b'{"a": "' + b"x" * 10_000_000 + b'"}')
        elif trouble == "redirect":
            self._send(302, b"", {"Location": f"{fake.url}/elsewhere"})
        elif trouble == "garbage":
            self._send(200, b"<html>not an issuer")
        elif trouble == "array":
            self._send(200, b"[" * 200_000)
        elif trouble == "503":
            self._send(503, b"{}")
        else:
            status, answer = fake.answer(self.path, form)
            self._send(status, json.dumps(answer).encode())

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def get(url: str) -> tuple[int, str, Any]:
    """Returns status, page and headers of a page over HTTP, as a browser gets it."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 (the listener's)
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers


@contextmanager
def running_fake_issuer(directory: Path) -> Iterator[FakeIssuer]:
    """Serves while the block runs."""
    ca = make_ca(directory)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*ca.issue("issuer", directory))
    with _Server(("127.0.0.1", 0), _Request) as server:
        # The handshake is the connection's own thread's: a client that never makes it keeps no other out.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        fake = FakeIssuer(f"https://127.0.0.1:{server.server_address[1]}", ca.ca_file)
        fake.reset()
        server.fake = fake
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            fake.released.set()
            server.shutdown()
            thread.join()
