"""A proxy before Azurite that counts requests and tokens, and answers one with a 503 as its token is renewed."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from support.fault_proxy import FaultProxy
from support.stack import RunningStack

# Of a token of 8 s. A fresh one is there at 60 to 75 % of its life, which is when 3.2 to 2 s of it are left. A request
# between these two is held back until no more than the second is left, and is then answered: its next try is after the
# renewal, and has time enough for who can only send the old token again.
_HELD_FROM, _HELD_UNTIL = 3.0, 1.6
# Not there, there already, changed since: how storage answers what a client only looks for.
_NO_FAILURES = (404, 409, 412)


class WatchedStorage(FaultProxy):
    """Forwards, and counts since `begin`: `requests`, `tokens`, `refused` (each request and its status)."""

    def __init__(self, target: str, ca_file: Path, certificate: Path, key: Path) -> None:
        super().__init__(target, ca_file, certificate, key)
        self.begin()

    def begin(self) -> None:
        """Counts from here on; the next token to be renewed has a 503."""
        self.requests = self.unavailable = 0
        self.tokens: set[str] = set()
        self.refused: list[str] = []

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        signatures = request.query.getall("sig", [])
        self.requests += "Authorization" not in request.headers
        self.tokens.update(signatures)
        ends = datetime.fromisoformat(request.query["se"]) if "se" in request.query else None
        left = (ends - datetime.now(UTC)).total_seconds() if ends is not None else float("inf")
        if _HELD_UNTIL < left < _HELD_FROM and not self.unavailable:
            self.unavailable += 1
            await request.read()
            await asyncio.sleep(left - _HELD_UNTIL)
            return web.Response(status=503, headers={"x-ms-error-code": "ServerBusy"})
        answer = await super()._handle(request)
        if "Authorization" in request.headers:
            return answer  # The broker asks for keys.
        if len(signatures) != 1 or (answer.status >= 400 and answer.status not in _NO_FAILURES):
            what = f"{request.method} {request.path} {request.query.get('comp', '')}"
            self.refused.append(
                f"{time.strftime('%X')} {what}: {answer.status}, {len(signatures)} tokens, {left:.1f} s left"
            )
        return answer


def watched(found: list[WatchedStorage]) -> Callable[[RunningStack], None]:
    """Returns what puts such a proxy before a stack's Azurite, for `live_stack`; the proxy is then in `found`."""

    def put(running: RunningStack) -> None:
        stack = running.stack
        certificate = stack.ca.issue("watched", stack.layout.tls)
        target = stack.azurite.blob_endpoint.partition("/{")[0]
        storage = WatchedStorage(target, stack.ca_file, *certificate)
        running.call(storage.__aenter__())
        settings = stack.settings_file.read_text()
        stack.settings_file.write_text(settings.replace(target, storage.url))
        found.append(storage)

    return put
