"""A Vault whose answers come drop by drop, and never to their end."""

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from support.stopwatch import ends_within
from valetkey_broker.adapters.vault import VaultStateStore
from valetkey_broker.errors import BrokerError
from valetkey_broker.settings import VaultSettings
from valetkey_devstack.ca import make_ca

_LOGIN = json.dumps({"auth": {"client_token": "planted-token", "lease_duration": 600, "renewable": True}}).encode()


class _Dripping:
    """A server that answers logins, and lets all else drip. `given_up` counts the connections that were given up."""

    def __init__(self, begins: bytes) -> None:
        self.given_up = threading.Semaphore(0)
        self.ends = threading.Event()
        dripping = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                if self.path.endswith("/login"):
                    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(_LOGIN)
                    self.wfile.write(head + _LOGIN)
                    return
                try:
                    self.wfile.write(begins)
                    while not dripping.ends.wait(0.05):
                        self.wfile.write(b" ")
                except OSError:
                    dripping.given_up.release()

            do_GET = do_POST = do_LIST = answer  # noqa: N815 (the base class's names)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture(params=["header", "body"])
def dripping(request: pytest.FixtureRequest) -> Iterator[_Dripping]:
    begins = b"HTTP/1.1 200 OK\r\n"
    server = _Dripping(begins + (b"X-Long:" if request.param == "header" else b"Content-Length: 1000000\r\n\r\n"))
    thread = threading.Thread(target=server.server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.ends.set()
    server.server.shutdown()
    thread.join()
    server.server.server_close()


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
async def test_an_answer_that_drips_holds_no_thread(dripping: _Dripping, tmp_path: Path, *, tls: bool) -> None:
    """Four of them would hold every thread there is, and the end of the process: each is given up as a whole."""
    port = dripping.server.server_address[1]
    certificate, key = make_ca(tmp_path).issue("stub", tmp_path)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        dripping.server.socket = context.wrap_socket(dripping.server.socket, server_side=True)
    for name in ("role_id", "secret_id"):
        (tmp_path / name).write_text(f"planted-{name}")
    settings = VaultSettings(
        address=f"{'https' if tls else 'http'}://127.0.0.1:{port}",
        role_id_file=tmp_path / "role_id",
        secret_id_file=tmp_path / "secret_id",
        ca_file=tmp_path / "ca.pem" if tls else None,
        timeout_seconds=1,
    )
    store = VaultStateStore(settings)
    for calling in (store.read("generation"), store.read_many(["generation"])):
        with ends_within(), pytest.raises(BrokerError) as caught:
            await calling
        assert caught.value.metadata == {"cause": "timeout"}
        assert dripping.given_up.acquire(timeout=60)
    await store.close()
    assert dripping.given_up.acquire(timeout=60)  # The login was being given back.
