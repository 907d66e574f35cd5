"""What the Vault adapter makes of answers that a healthy Vault does not give."""

import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
import urllib3

from valetkey_broker.adapters.vault import VaultStateStore
from valetkey_broker.adapters.vault.errors import explain
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.settings import VaultSettings
from valetkey_devstack.ca import make_ca

LOGIN = {"auth": {"client_token": "planted-token", "lease_duration": 600, "renewable": True}}
JSON = "application/json"


@dataclass
class Script:
    """What the server below answers: to logins, and to all else; and what it was asked."""

    login: tuple[int, str, str] = (200, JSON, json.dumps(LOGIN))
    rest: tuple[int, str, str] = (404, JSON, '{"errors": []}')
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def address(script: Script, tmp_path: Path) -> Iterator[str]:
    """A TLS server that follows the script."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            script.asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status, kind, body = script.login if self.path.endswith("/login") else script.rest
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body.encode())))
            self.send_header("Location", "https://127.0.0.1:9/elsewhere")
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = do_LIST = answer  # noqa: N815 (the base class's names)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            pass

    certificate, key = make_ca(tmp_path).issue("stub", tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
async def store(address: str, tmp_path: Path) -> AsyncIterator[VaultStateStore]:
    for name in ("role_id", "secret_id"):
        (tmp_path / name).write_text(f"planted-{name}")
    settings = VaultSettings(
        address=address,
        role_id_file=tmp_path / "role_id",
        secret_id_file=tmp_path / "secret_id",
        ca_file=tmp_path / "ca.pem",
        timeout_seconds=2,
    )
    opened = VaultStateStore(settings)
    yield opened
    await opened.close()


def errors(*texts: str) -> str:
    """Returns a body as Vault words its errors."""
    return json.dumps({"errors": texts})


@pytest.mark.parametrize(
    ("answer", "cause", "hint"),
    [
        ((503, JSON, errors("Vault is sealed")), "sealed", "unseal"),
        ((503, JSON, errors("Vault is in standby")), "standby", "cluster"),
        ((503, "text/html", "<h1>Service Unavailable</h1>"), "standby", "cluster"),
        ((501, JSON, errors("not initialized")), "standby", "cluster"),
        ((502, "text/html", "<h1>Bad Gateway</h1>"), "standby", "cluster"),
        ((500, JSON, errors("1 error occurred: planted-detail")), "failing", "log"),
        ((504, "text/html", "planted-detail"), "failing", "log"),
        ((429, JSON, errors("rate limit quota exceeded")), "throttled", "later"),
        ((400, JSON, errors("planted-detail")), "refused", "vault.mount"),
        ((403, JSON, errors("permission denied")), "denied", "policy"),
        ((401, JSON, errors("planted-detail")), "denied", "policy"),
        ((404, JSON, errors('no handler for route "valetkey/data/x"')), "not found", "vault.mount"),
        ((200, "text/html", "<h1>Please log in: planted-detail</h1>"), "unexpected answer", "vault.address"),
        ((200, JSON, "{"), "unexpected answer", "vault.address"),
        ((200, JSON, "[]"), "unexpected answer", "vault.address"),
        ((200, JSON, '{"data": null}'), "unexpected answer", "version 2"),
        ((200, JSON, '{"data": {"data": {"a": "planted-detail"}}}'), "unexpected answer", "version 2"),
        ((204, JSON, ""), "unexpected answer", "vault.address"),
        ((404, "text/plain", "default backend - 404"), "unexpected answer", "vault.address"),
        ((404, JSON, '{"statusCode": 404, "message": "planted-detail"}'), "unexpected answer", "vault.address"),
        ((404, JSON, "[]"), "unexpected answer", "vault.address"),
        ((404, JSON, errors("planted-detail")), "not found", "vault.mount"),
        ((503, JSON, "null"), "unexpected answer", "vault.address"),
        ((500, JSON, '["planted-detail"]'), "unexpected answer", "vault.address"),
        ((200, JSON, '{"data": {"data": ["planted"], "metadata": {"version": 1}}}'), "unexpected answer", "version 2"),
        ((307, JSON, ""), "unexpected answer", "redirect"),
    ],
)
async def test_each_answer_becomes_one_clear_error(
    store: VaultStateStore, script: Script, answer: tuple[int, str, str], cause: str, hint: str
) -> None:
    """Whatever answers in Vault's place, the caller learns what is wrong and what to look at, and no detail leaks."""
    script.rest = answer
    with pytest.raises(BrokerError) as caught:
        await store.open()
    error = caught.value
    assert error.reason is Reason.VAULT_UNAVAILABLE
    assert error.metadata == {"cause": cause}
    assert hint in error.message
    assert "planted" not in f"{error!r} {error.message}"
    assert error.retry_after == (1.0 if cause == "throttled" else None)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ((400, JSON, errors("invalid role or secret ID")), "login refused"),
        ((403, JSON, errors("permission denied")), "login refused"),
        ((404, JSON, errors('no handler for route "auth/approle/login"')), "login refused"),
        ((503, JSON, errors("Vault is sealed")), "sealed"),
        ((200, JSON, "{}"), "unexpected answer"),
        ((200, JSON, '{"auth": null}'), "unexpected answer"),
        (
            (200, JSON, '{"auth": {"client_token": "planted", "lease_duration": "x", "renewable": true}}'),
            "unexpected answer",
        ),
        ((307, JSON, ""), "unexpected answer"),
    ],
)
async def test_each_answer_to_a_login_becomes_one_clear_error(
    store: VaultStateStore, script: Script, answer: tuple[int, str, str], cause: str
) -> None:
    """A login that cannot be had ends there: nothing else is asked of the server."""
    script.login = answer
    with pytest.raises(BrokerError) as caught:
        await store.open()
    assert caught.value.metadata == {"cause": cause}
    assert "planted" not in f"{caught.value!r} {caught.value.message}"
    assert script.asked == ["POST /v1/auth/approle/login"]


@pytest.mark.parametrize(
    "answer",
    [
        (404, "text/plain", "default backend - 404"),
        (404, JSON, '{"statusCode": 404, "message": "Resource not found"}'),
        (404, JSON, errors("no such namespace")),
        (200, JSON, '{"data": {}}'),
        (200, JSON, '{"data": {"keys": [1]}}'),
    ],
)
async def test_an_empty_store_is_vaults_own_word(
    store: VaultStateStore, script: Script, answer: tuple[int, str, str]
) -> None:
    """A gateway before a Vault that is away says 404, too: keys and grants are not gone because of that."""
    script.rest = answer
    for question in (store.names("api-keys"), store.newest("api-keys/a"), store.read("api-keys/a"), store.open()):
        with pytest.raises(BrokerError) as caught:
            await question
        assert caught.value.reason is Reason.VAULT_UNAVAILABLE


@pytest.mark.parametrize("kind", [JSON, f"{JSON}; charset=utf-8"])
async def test_nothing_there(store: VaultStateStore, script: Script, kind: str) -> None:
    """An empty store is one, also by way of a gateway that adds to the type; so is a version without its data."""
    for body in ('{"errors": []}', '{"data": {"data": null, "metadata": {"version": 3}}}'):
        script.rest = (404, kind, body)
        assert (await store.names("a"), await store.newest("a/a"), await store.read("a/a")) == ([], 0, None)


async def test_redirects_are_not_followed(store: VaultStateStore, script: Script) -> None:
    """A token goes to the address of the settings, never to where an answer points."""
    script.rest = (307, JSON, "")
    with pytest.raises(BrokerError, match="redirect"):
        await store.read("generation")
    assert script.asked[-1] == "GET /v1/valetkey/data/generation"


@pytest.mark.parametrize("setting", ["role_id", "secret_id"])
@pytest.mark.parametrize("state", ["missing", "directory", "empty", "blank", "binary"])
async def test_unusable_credential_files_are_named(
    store: VaultStateStore, script: Script, tmp_path: Path, setting: str, state: str
) -> None:
    """A file that cannot be used is an error with its setting and problem, and nothing is sent."""
    path = tmp_path / setting
    path.unlink()
    if state == "directory":
        path.mkdir()
    elif state != "missing":
        path.write_bytes({"empty": b"", "blank": b" \n", "binary": b"\xff\xfe\x00"}[state])
    with pytest.raises(BrokerError) as caught:
        await store.open()
    assert caught.value.metadata == {"cause": "credential file"}
    assert f"vault.{setting}_file" in caught.value.message
    assert script.asked == []


async def test_login_is_asked_for_once(store: VaultStateStore, script: Script) -> None:
    """Opening twice, and calling on, needs one login."""
    await store.open()
    await store.open()
    await store.read("generation")
    assert script.asked.count("POST /v1/auth/approle/login") == 1


def _tls_failure(kind: type[ssl.SSLError]) -> requests.exceptions.SSLError:
    return requests.exceptions.SSLError(
        urllib3.exceptions.MaxRetryError(
            urllib3.HTTPSConnectionPool("planted"), "/planted", urllib3.exceptions.SSLError(kind("planted"))
        )
    )


@pytest.mark.parametrize(
    ("problem", "cause"),
    [
        (requests.ConnectTimeout("planted"), "timeout"),
        (requests.ReadTimeout("planted"), "timeout"),
        (_tls_failure(ssl.SSLCertVerificationError), "untrusted certificate"),
        (_tls_failure(ssl.SSLEOFError), "unreachable"),
        (_tls_failure(ssl.SSLError), "unexpected answer"),
        (requests.exceptions.ProxyError("planted"), "unreachable"),
        (requests.ConnectionError("planted"), "unreachable"),
        (requests.exceptions.ChunkedEncodingError("planted"), "unreachable"),
        (OSError("planted"), "untrusted certificate"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_each_failure_to_get_an_answer_is_told_apart(problem: Exception, cause: str) -> None:
    """Exceptions that are kinds of each other are sorted by the narrowest, and none of their text is passed on."""
    error = explain(problem, "reading")
    assert error.metadata == {"cause": cause}
    assert "planted" not in error.message


_NEEDS_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"


@pytest.mark.parametrize(
    ("reads", "answer", "cause"),
    [(65536, _NEEDS_TLS, "unexpected answer"), (16, _NEEDS_TLS, "unreachable"), (16, b"", "unreachable")],
    ids=["all read", "reset behind the answer", "reset without an answer"],
)
async def test_plain_http_to_tls_leads_to_the_address(tmp_path: Path, reads: int, answer: bytes, cause: str) -> None:
    """However much of its answer comes through before the connection is reset: the text says what to correct."""
    for name in ("role_id", "secret_id"):
        (tmp_path / name).write_text(f"planted-{name}")

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            got = b""
            while not got.endswith(b"}"):  # Both parts of the request are there,
                got = connection.recv(65536, socket.MSG_PEEK)
            connection.recv(reads)  # and so many bytes of them are read.
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        thread = threading.Thread(target=serve)
        thread.start()
        settings = VaultSettings(
            address=f"http://127.0.0.1:{server.getsockname()[1]}",
            role_id_file=tmp_path / "role_id",
            secret_id_file=tmp_path / "secret_id",
            timeout_seconds=2,
        )
        store = VaultStateStore(settings)
        with pytest.raises(BrokerError) as caught:
            await store.open()
        await store.close()
        thread.join()
    assert caught.value.metadata == {"cause": cause}
    assert "begin vault.address with https://" in caught.value.message
