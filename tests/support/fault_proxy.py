"""A TLS proxy before the real Azurite that answers chosen requests with an error of Azure's.

Azurite knows no roles, network rules or throttling; what Azure says then is put in here, in Azure's own shape.
"""

import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

Matcher = Callable[[web.Request], bool]

# Headers of one connection, which a proxy does not hand on: RFC 9110, section 7.6.1.
# `Host` is none of them: Azurite refuses a copy whose source carries a token when the source names another host.
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"}


@dataclass(slots=True)
class _Rule:
    matches: Matcher
    answer: Callable[[], web.StreamResponse]
    times: int | None


class FaultProxy:
    """Forwards to `target`, but for requests that a planned fault matches. `seen` counts by "METHOD comp"."""

    def __init__(self, target: str, ca_file: Path, certificate: Path, key: Path) -> None:
        self.url = ""
        self.seen: Counter[str] = Counter()
        self._target = target
        self._trust = ssl.create_default_context(cafile=str(ca_file))
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate, key)
        self._rules: list[_Rule] = []
        self._losing: list[Matcher] = []

    async def __aenter__(self) -> Self:
        # Each request on a connection of its own: Azurite ends idle ones, at times while a request is on its way.
        connector = aiohttp.TCPConnector(force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False, trust_env=False)
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self._session.close()
        await self._runner.cleanup()

    def refuse(
        self,
        matches: Matcher,
        status: int,
        code: str,
        message: str = "",
        *,
        headers: dict[str, str] | None = None,
        times: int | None = None,
    ) -> None:
        """Answers as the storage service refuses: XML, and the code in a header."""
        body = (
            '﻿<?xml version="1.0" encoding="utf-8"?>'
            f"<Error><Code>{code}</Code><Message>{message or 'This request was refused.'}\n"
            "RequestId:00000000-0000-0000-0000-000000000000\nTime:2025-01-01T00:00:00.0000000Z</Message></Error>"
        )
        all_headers = {"x-ms-error-code": code, **(headers or {})}
        self.answer(matches, status, body, "application/xml", headers=all_headers, times=times)

    def answer(
        self,
        matches: Matcher,
        status: int,
        body: str,
        content_type: str = "text/html",
        *,
        headers: dict[str, str] | None = None,
        times: int | None = None,
    ) -> None:
        """Answers with just that."""

        def make() -> web.StreamResponse:
            return web.Response(status=status, text=body, content_type=content_type, headers=headers)

        self._rules.append(_Rule(matches, make, times))

    def lose_answers(self, *matches: Matcher) -> None:
        """Hands on one request for each matcher, and breaks the connection off in place of its answer."""
        self._losing += matches

    def heal(self) -> None:
        """Forwards everything again."""
        self._rules.clear()
        self._losing.clear()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.seen[f"{request.method} {request.query.get('comp', '')}"] += 1
        for rule in self._rules:
            if rule.matches(request):
                if rule.times is not None:
                    rule.times -= 1
                    if rule.times <= 0:
                        self._rules.remove(rule)
                return rule.answer()
        async with self._session.request(
            request.method,
            # As it came: quoted anew, a client's mistake would be mended.
            URL(f"{self._target}{request.raw_path}", encoded=True),
            headers=_end_to_end(request.headers),
            data=await request.read() or None,
            # A header that the client did not send would break what it signed.
            skip_auto_headers=("Content-Type", "User-Agent", "Accept", "Accept-Encoding"),
            ssl=self._trust,
            allow_redirects=False,
        ) as answer:
            headers = _end_to_end(answer.headers)
            body = await answer.read()
        lost = next((matches for matches in self._losing if matches(request)), None)
        if lost is not None:
            self._losing.remove(lost)
            if request.transport is not None:
                request.transport.abort()
        return web.Response(status=answer.status, body=body, headers=headers)


def lists_containers(account: str) -> Matcher:
    """Matches the listing of the containers of `account`."""
    return lambda request: request.query.get("comp") == "list" and request.path.strip("/") == account


def asks_for_key(account: str) -> Matcher:
    """Matches the request for a user delegation key of `account`."""
    return lambda request: request.query.get("comp") == "userdelegationkey" and request.path.strip("/") == account


def _end_to_end(headers: Mapping[str, str]) -> "CIMultiDict[str]":
    kept: CIMultiDict[str] = CIMultiDict(headers)
    for name in _HOP_BY_HOP:
        kept.popall(name, None)
    return kept
