"""Connections to Vault that end while something is asked, as they do where it, or what is before it, stops."""

import json
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from valetkey_broker.adapters.vault import VaultStateStore
from valetkey_broker.errors import BrokerError
from valetkey_broker.ports import Document
from valetkey_broker.settings import VaultSettings

_LOGIN = {"auth": {"client_token": "planted-token", "lease_duration": 600, "renewable": True}}
_FOUND = {"data": {"data": {"a": 1}, "metadata": {"version": 3}, "current_version": 3, "keys": ["a"]}}
_UNSURE = "whether it was done is not known"

Call = Callable[[VaultStateStore], Awaitable[Any]]


@dataclass
class Breaking:
    """How many more of the requests after the login end with their connection, before or `amid` their answer."""

    left: int = 0
    amid: bool = False
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def breaking() -> Breaking:
    return Breaking()


@pytest.fixture
def address(breaking: Breaking) -> Iterator[str]:
    """A server that keeps connections, but for those that it breaks off."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if self.path.endswith("/login"):
                self.say(_LOGIN)
                return
            breaking.asked.append(self.command)
            if not breaking.left:
                self.say(_FOUND)
                return
            breaking.left -= 1
            if breaking.amid:
                self.say(_FOUND, whole=False)
            self.close_connection = True

        do_GET = do_POST = do_PUT = do_LIST = answer  # noqa: N815 (the base class's names)

        def say(self, document: Any, *, whole: bool = True) -> None:
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if whole else body[:-1])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
async def store(address: str, tmp_path: Path) -> AsyncIterator[VaultStateStore]:
    for name in ("role_id", "secret_id"):
        (tmp_path / name).write_text(f"planted-{name}")
    opened = VaultStateStore(
        VaultSettings(address=address, role_id_file=tmp_path / "role_id", secret_id_file=tmp_path / "secret_id")
    )
    yield opened
    await opened.close()


@pytest.mark.parametrize("amid", [False, True], ids=["without an answer", "amid its answer"])
@pytest.mark.parametrize(
    ("ask", "answer", "method"),
    [
        (lambda store: store.read("a"), Document(version=3, data={"a": 1}), "GET"),
        (lambda store: store.newest("a"), 3, "GET"),
        (lambda store: store.names("a"), ["a"], "LIST"),
    ],
    ids=["read", "newest", "names"],
)
async def test_reads_outlive_a_connection_that_breaks_off(
    store: VaultStateStore, breaking: Breaking, ask: Call, answer: object, method: str, amid: bool
) -> None:
    """Nobody is refused because Vault, or what is before it, just closed the connection that was at hand."""
    breaking.left, breaking.amid = 1, amid
    assert await ask(store) == answer
    assert breaking.asked == [method, method]


@pytest.mark.parametrize("amid", [False, True], ids=["without an answer", "amid its answer"])
async def test_reads_are_asked_once_more_and_no_oftener(store: VaultStateStore, breaking: Breaking, amid: bool) -> None:
    """Something that breaks each connection off is told of, in words that do not deny that it is there."""
    breaking.left, breaking.amid = 2, amid
    with pytest.raises(BrokerError, match="its connection broke off") as caught:
        await store.read("a")
    assert (caught.value.metadata, breaking.asked) == ({"cause": "unreachable"}, ["GET", "GET"])
    assert _UNSURE not in caught.value.message


@pytest.mark.parametrize("amid", [False, True], ids=["without an answer", "amid its answer"])
@pytest.mark.parametrize(
    "change",
    [lambda store: store.write("a", {"a": 1}, expected=2), lambda store: store.destroy("a", [2])],
    ids=["write", "destroy"],
)
async def test_changes_are_not_made_twice(store: VaultStateStore, breaking: Breaking, change: Call, amid: bool) -> None:
    """What may have been done is not repeated, and whoever asked for it is told that it may."""
    await store.newest("a")
    breaking.asked.clear()
    breaking.left, breaking.amid = 1, amid
    with pytest.raises(BrokerError, match=f"its connection broke off.*{re.escape(_UNSURE)}") as caught:
        await change(store)
    assert caught.value.metadata == {"cause": "unreachable"}
    assert len(breaking.asked) == 1
