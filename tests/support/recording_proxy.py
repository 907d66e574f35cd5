"""A TLS proxy before the real Azurite that writes down every request: what it was, by which token, what came of it."""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

from aiohttp import web

from support.fault_proxy import FaultProxy


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `token` is a hash of its signature, empty without one; `tokens` is how many it carried.

    `late` says that its token had ended when it was answered.
    """

    method: str
    path: str
    query: frozenset[str]
    tokens: int
    token: str
    bearer: bool
    late: bool
    status: int
    at: float


@dataclass
class Recording:
    """What went through. `signatures` holds them as they are, by their hashes."""

    requests: list[Request] = field(default_factory=list)
    signatures: dict[str, str] = field(default_factory=dict)

    def data(self, after: float = 0.0) -> list[Request]:
        """Returns the requests for blobs; the broker's own come with a bearer token instead."""
        return [request for request in self.requests if not request.bearer and request.at >= after]

    def forms(self, tokens: Iterable[str] | None = None) -> set[bytes]:
        """Returns how signatures look elsewhere, of these tokens or of all; Azure's SDK leaves a / as it is."""
        found = self.signatures.values() if tokens is None else (self.signatures[token] for token in tokens)
        return {form.encode() for text in found for form in (text, quote(text), quote(text, safe=""))}

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
        ends = [datetime.fromisoformat(value) for name, value in pairs if name == "se"]
        self.recording.requests.append(
            Request(
                method=request.method,
                path=request.path,
                query=frozenset(name for name, _ in pairs),
                tokens=len(signatures),
                token=token,
                bearer="Authorization" in request.headers,
                late=any(end <= datetime.now(UTC) for end in ends),
                status=answer.status,
                at=time.monotonic(),
            )
        )
        return answer
