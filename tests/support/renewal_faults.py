"""Storage that answers 503 at the moment of each renewal: a request that went out with the old token is tried again
when there is a new one, which is when libraries send two tokens, or the wrong one.
"""

import asyncio
import re
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

from aiohttp import web

from support.fault_proxy import FaultProxy

# A token is renewed at 60 to 75 % of its life. One request from then on is held until the next token was seen, or that
# is over.
_HELD_FROM, _HELD_UNTIL = 0.6, 0.8
_SIGNATURE = re.compile(r"[?&]sig=([^&]+)")


class RenewalFaults(FaultProxy):
    """Forwards, but for one request for each token, when its renewal is near: 503, after the next token came.

    `owners` are patterns of paths; what is counted goes by the one that fits.
    """

    def __init__(
        self, target: str, ca_file: Path, certificate: Path, key: Path, *, seconds: float, owners: dict[str, str]
    ) -> None:
        super().__init__(target, ca_file, certificate, key)
        self.tokens: defaultdict[str, set[str]] = defaultdict(set)
        self.requests: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._seconds = seconds
        self._owners = {name: re.compile(pattern) for name, pattern in owners.items()}
        self._met: set[str] = set()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        owner = next((name for name, pattern in self._owners.items() if pattern.search(request.raw_path)), "other")
        signatures = _SIGNATURE.findall(request.raw_path)
        self.requests[owner] += 1
        if signatures:
            self.tokens[owner].add(signatures[0])
            if len(signatures) > 1:
                self.refused[owner] += 1  # Azure refuses it, whatever the emulator does.
            if await self._fault(request, owner, signatures[0]):
                return web.Response(status=503, headers={"x-ms-error-code": "ServerBusy"})
        answer = await super()._handle(self._at_storage(request))
        self.refused[owner] += answer.status == 403
        return answer

    def _at_storage(self, request: web.Request) -> web.Request:
        """Returns a request whose source of a copy, if it has one, is where storage itself finds it."""
        source = request.headers.get("x-ms-copy-source", "")
        if not source.startswith(self.url):
            return request
        headers = request.headers.copy()
        headers["x-ms-copy-source"] = f"{self._target}{source.removeprefix(self.url)}"
        return request.clone(headers=headers)

    async def _fault(self, request: web.Request, owner: str, signature: str) -> bool:
        """Tells, when it is time, whether this is the one request of its token that fails."""
        ends = parse_qs(request.query_string).get("se", [""])[0]
        if owner == "other" or signature in self._met or not ends:
            return False
        left = (datetime.fromisoformat(ends) - datetime.now(UTC)).total_seconds()
        if left > self._seconds * (1 - _HELD_FROM):
            return False
        self._met.add(signature)
        known, until = len(self.tokens[owner]), time.monotonic() + left - self._seconds * (1 - _HELD_UNTIL)
        while len(self.tokens[owner]) == known and time.monotonic() < until:  # noqa: ASYNC110 (counts have no events)
            await asyncio.sleep(0.1)
        self.injected[owner] += 1
        return True
