"""A TLS proxy before the real Azurite that writes down every request: what it was, by which token, what came of it."""

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from support.fault_proxy import FaultProxy


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `token` is a hash of its signature, empty without one; `tokens` is how many it carried."""

    method: str
    path: str
    query: frozenset[str]
    tokens: int
    token: str
    bearer: bool
    status: int
    at: float


@dataclass
class Recording:
    """What went through. `signatures` holds them as they are, by their hashes, to look for them elsewhere."""

    requests: list[Request] = field(default_factory=list)
    signatures: dict[str, str] = field(default_factory=dict)

    def data(self, after: float = 0.0) -> list[Request]:
        """Returns the requests for blobs; the broker's own come with a bearer token instead."""
        return [request for request in self.requests if not request.bearer and request.at >= after]

    def tokens(self, after: float = 0.0) -> set[str]:
        """Returns the hashes of the signatures that requests for blobs carried."""
        return {request.token for request in self.data(after)}


class RecordingProxy(FaultProxy):
    """Records all that it hands on. Its `requests` are in the order of their answers."""

    def __init__(self, target: str, ca_file: Path, certificate: Path, key: Path) -> None:
        super().__init__(target, ca_file, certificate, key)
        self.recording = Recording()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        answer = await super()._handle(request)
        pairs = parse_qsl(urlsplit(request.raw_path).query, keep_blank_values=True)
        signatures = [value for name, value in pairs if name == "sig"]
        token = hashlib.sha256("".join(signatures).encode()).hexdigest()[:12] if signatures else ""
        if signatures:
            self.recording.signatures[token] = signatures[-1]
        self.recording.requests.append(
            Request(
                method=request.method,
                path=request.path,
                query=frozenset(name for name, _ in pairs),
                tokens=len(signatures),
                token=token,
                bearer="Authorization" in request.headers,
                status=answer.status,
                at=time.monotonic(),
            )
        )
        return answer
