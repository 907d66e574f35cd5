"""The port for metrics and probes: plain HTTP, a thread of its own, which answers also while a worker hangs."""

import contextlib
import errno
import socket
import socketserver
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from valetkey_broker.errors import ConfigurationError
from valetkey_broker.metrics.catalog import WORKER_STARTS, WORKER_UP
from valetkey_broker.metrics.joined_worker_metrics import joined, of_workers
from valetkey_broker.metrics.worker_channel import Asker, Question, ask_all
from valetkey_broker.settings import MetricsSettings

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
# A worker that says nothing for so long hangs, as far as this scrape is concerned; Prometheus waits 10 s by default.
_PATIENCE_SECONDS = 3.0
# However often it is asked, workers are asked only so often.
_KEPT_SECONDS = 0.5
_MOST_CONNECTIONS = 16
_SILENT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Where a worker is, or would be: `asker` is None while it is not."""

    index: int
    starts: int
    asker: Asker | None


class Workers(Protocol):
    """Knows the workers; asked from other threads."""

    def places(self) -> Sequence[WorkerPlace]:
        """Returns them as they are now."""
        ...


class OneWorker:
    """The one process that serves, and the port with it."""

    def __init__(self) -> None:
        self.asker = Asker()

    def places(self) -> Sequence[WorkerPlace]:
        """Returns its place."""
        return (WorkerPlace(0, 1, self.asker),)


@contextlib.contextmanager
def metrics_port(settings: MetricsSettings, workers: Workers) -> Iterator[None]:
    """Serves metrics while the context lasts; nothing where no port is set.

    Raises ConfigurationError where the port cannot be had.
    """
    if settings.port is None:
        yield
        return
    try:
        server = _Server(settings, workers)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"cannot tell metrics on {settings.address}: the port is taken; "
                "stop what has it, or choose another metrics.port"
            ) from None
        why = error.strerror or "the host is not known"
        raise ConfigurationError(
            f"cannot tell metrics on {settings.address}: {why}; see metrics.host and metrics.port"
        ) from None
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics-port")
        thread.daemon = True
        thread.start()
        try:
            yield
        finally:
            server.shutdown()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, settings: MetricsSettings, workers: Workers) -> None:
        self.address_family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        self._free = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self.told = _Told(workers)
        super().__init__((settings.host, settings.port or 0), _Handler)

    def server_bind(self) -> None:
        """Binds, and does not ask DNS for this machine's name, as its parent would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "metrics", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection in a thread of its own; one that is too many is closed."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # No thread could be started, say: this place is free for the next probe.
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a caller that went away."""


class _Told:
    """What is told, at most half a second old; whoever comes meanwhile waits for the same answer."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._lock = threading.Lock()
        self._kept: dict[Question, tuple[float, tuple[bytes, bool, bool]]] = {}

    def now(self, question: Question) -> tuple[bytes, bool, bool]:
        """Returns a text, whether any worker answered, and whether any serves."""
        with self._lock:
            at, known = self._kept.get(question, (float("-inf"), (b"", False, False)))
            if time.monotonic() - at >= _KEPT_SECONDS:
                known = self._asked(question)
                self._kept[question] = time.monotonic(), known
        return known

    def _asked(self, question: Question) -> tuple[bytes, bool, bool]:
        places = self._workers.places()
        answers = dict(
            zip(places, ask_all([place.asker for place in places], question, _PATIENCE_SECONDS), strict=True)
        )
        there = {place.index: answer for place, answer in answers.items() if answer is not None}
        if question is Question.SERVING:
            return b"", bool(there), b"1" in there.values()
        lines = [
            *of_workers(WORKER_UP, ((place.index, float(place.index in there)) for place in places)),
            *of_workers(WORKER_STARTS, ((place.index, float(place.starts)) for place in places)),
            *joined(there),
            "",
        ]
        return "\n".join(lines).encode(), bool(there), False


class _Handler(BaseHTTPRequestHandler):
    timeout = _SILENT_SECONDS
    server: _Server

    def do_GET(self) -> None:
        """Answers the three paths; /healthz and /readyz say nothing but a code and its word."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._say(HTTPStatus.OK, self.server.told.now(Question.METRICS)[0])
        elif path in ("/healthz", "/readyz"):
            _, alive, serves = self.server.told.now(Question.SERVING)
            good = serves if path == "/readyz" else alive
            self._say(*((HTTPStatus.OK, b"ok\n") if good else (HTTPStatus.SERVICE_UNAVAILABLE, b"unavailable\n")))
        else:
            self._say(HTTPStatus.NOT_FOUND, b"not found; there are /metrics, /healthz and /readyz\n")

    def _say(self, status: HTTPStatus, text: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", _TEXT)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(text)

    def version_string(self) -> str:
        """Returns the name of the server, without what it is made of."""
        return "valetkey"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's naming)
        """Logs nothing: probes and scrapes come all day."""
