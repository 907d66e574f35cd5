"""A storage account in memory behind plain HTTP, with the proxy before it: for tests of the proxy alone.

It records what it was asked, byte by byte, and takes the tokens that it is told to take.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from valetkey.errors import ValetKeyError
from valetkey.proxy import SigningProxy
from valetkey.proxy.admission import LocalKey

# Made once: it takes longer than all the rest. Storage speaks plain HTTP here.
_TRUST = ssl.create_default_context()
SECRET = "0123456789abcdef" * 4
SIGNATURE = "PLANTED%2Bsignature%2F{}%3D"


@dataclass(frozen=True)
class FakeToken:
    """A token with a number."""

    number: int
    url: str
    expires_at: datetime = field(default_factory=lambda: datetime.now(UTC) + timedelta(hours=1))

    @property
    def sas(self) -> str:
        return f"sv=2025-07-05&sr=c&sp=rwl&sig={SIGNATURE.format(self.number)}"


class FakeTokens:
    """Holds token after token; `error` is what it raises in place of one."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.number = 1
        self.renewals = 0
        self.error: ValetKeyError | None = None
        self.of_use = True

    async def current(self) -> FakeToken:
        if self.error:
            raise self.error
        return FakeToken(self.number, self.url)

    def may_renew(self, after: FakeToken) -> bool:
        return self.of_use or after.number < self.number

    async def renew(self, after: FakeToken) -> FakeToken:
        self.renewals += 1
        self.number = max(self.number, after.number + 1)
        return await self.current()


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    target: str
    headers: CIMultiDict[str]
    body: bytes


@dataclass
class FakeStorage:
    """`answer` answers; by default, 403 for a token below `accepted`, and 201 for everything else."""

    asked: list[Asked] = field(default_factory=list)
    accepted: int = 1
    answer: Callable[[web.BaseRequest], Coroutine[Any, Any, web.StreamResponse | None]] | None = None
    early: bool = False
    port: int = 0
    began: asyncio.Event = field(default_factory=asyncio.Event)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.began.set()
        good = any(SIGNATURE.format(number) in request.raw_path for number in range(self.accepted, 10))
        if not good and self.early:
            self.asked.append(Asked(request.method, request.raw_path, CIMultiDict(request.headers), b""))
            return self.refusal()
        try:
            body = await request.content.read()
        except BaseException:
            self.asked.append(Asked("CUT OFF", request.raw_path, CIMultiDict(), b""))
            self.heard.set()
            raise
        self.asked.append(Asked(request.method, request.raw_path, CIMultiDict(request.headers), body))
        if not good:
            return self.refusal()
        if self.answer is not None and (made := await self.answer(request)) is not None:
            return made
        return web.Response(status=201, headers={"x-ms-request-id": "1"})

    @staticmethod
    def refusal() -> web.Response:
        return web.Response(
            status=403, text="<Error>refused</Error>", headers={"x-ms-error-code": "AuthenticationFailed"}
        )


@dataclass
class Rig:
    """Storage, tokens and the proxy between."""

    storage: FakeStorage
    tokens: FakeTokens
    proxy: SigningProxy

    @property
    def sas(self) -> str:
        return self.proxy.key.sas("rwl", "2025-07-05")

    async def raw(self, data: bytes, *, cut: bool = False, end: bool = False) -> bytes:
        """Sends bytes to the proxy as they are and returns all that comes back until it closes the connection.

        With `end`, it ends its side at once; with `cut`, once they have begun to reach storage.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        writer.write(data)
        if end:
            writer.write_eof()
        await writer.drain()
        if cut:
            await self.storage.began.wait()
            writer.write_eof()
        try:
            async with asyncio.timeout(20):
                return await reader.read()
        finally:
            writer.close()

    async def ask(
        self, method: str, target: str, *headers: str, body: bytes = b"", host: str = "", sas: bool = True
    ) -> tuple[int, bytes]:
        """Sends one request with the proxy's SAS; returns the status and the whole answer."""
        signed = f"{target}{'&' if '?' in target else '?'}{self.sas}" if sas else target
        lines = [f"{method} {signed} HTTP/1.1", f"Host: {host or f'127.0.0.1:{self.proxy.port}'}", "Connection: close"]
        lines += headers
        if body or method in ("PUT", "POST"):
            lines.append(f"Content-Length: {len(body)}")
        answer = await self.raw("\r\n".join((*lines, "", "")).encode("utf-8", "surrogateescape") + body)
        return int(answer.split(b" ", 2)[1]), answer


@asynccontextmanager
async def running_rig(**named: Any) -> AsyncIterator[Rig]:
    """Runs all three; arguments are those of the proxy."""
    storage = FakeStorage()
    server = web.ServerRunner(web.Server(storage.handle, auto_decompress=False), shutdown_timeout=0.1)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    storage.port = server.addresses[0][1]
    tokens = FakeTokens(f"http://127.0.0.1:{storage.port}/acct/models")
    try:
        async with SigningProxy(tokens, tls=_TRUST, key=LocalKey(SECRET), **named) as proxy:
            yield Rig(storage, tokens, proxy)
    finally:
        await server.cleanup()
