"""A storage that takes everything, writes down what it is asked, and refuses on demand."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from xml.sax.saxutils import escape


class NotingStorage(ThreadingHTTPServer):
    """Answers with `refusals` first, each a status and an error code, and calls `between` with each of them.

    Copies are done at once, unless `copies` says how they stand at each question. `listed` are the names in a listing,
    whatever its prefix.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.refusals: list[tuple[int, str]] = []
        self.between: Callable[[], object] = lambda: None
        self.copies: list[str] = []
        self.listed: list[str] = []

    @property
    def url(self) -> str:
        """The URL of its account."""
        return f"http://127.0.0.1:{self.server_address[1]}/contoso"

    def signatures(self) -> list[list[str]]:
        """Returns the signatures of each request."""
        return [[part for part in path.split("&") if part.startswith("sig=")] for _, path, _, _ in self.seen]


def _listing(names: Sequence[str]) -> bytes:
    kind = "<Properties><BlobType>BlockBlob</BlobType><Content-Length>1</Content-Length></Properties>"
    blobs = "".join(f"<Blob><Name>{escape(name)}</Name>{kind}</Blob>" for name in names)
    return f"<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker /></EnumerationResults>".encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server.seen.append((self.command, self.path.replace("?", "&"), dict(self.headers), body))
        done = {"GET": 200, "HEAD": 200, "DELETE": 202, "PATCH": 200}.get(self.command, 201)
        if "action=append" in self.path:
            done = 202
        copied = 202 if self.headers.get("x-ms-copy-source") else done
        status, code = server.refusals.pop(0) if server.refusals else (copied, "")
        if code:
            server.between()
        self.send_response(status)
        if code:
            self.send_header("x-ms-error-code", code)
        self.send_header("x-ms-copy-id", "1")
        self.send_header("x-ms-copy-status", server.copies.pop(0) if server.copies else "success")
        said = _listing(server.listed) if "comp=list" in self.path and not code else b""
        if said:
            self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_PUT = do_GET = do_HEAD = do_DELETE = do_PATCH = _answer  # noqa: N815 (http.server's naming)

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


Storage = TypeVar("Storage", bound=NotingStorage)


@contextmanager
def running(storage: Storage) -> Iterator[Storage]:
    """Serves until the block ends."""
    with storage as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def running_noting_storage() -> AbstractContextManager[NotingStorage]:
    """Serves a plain one until the block ends."""
    return running(NotingStorage())
