"""The proxy: plain HTTP on loopback for tools, TLS to storage, and the current token in between."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web
from yarl import URL

from valetkey.errors import PermissionDeniedError, UnauthenticatedError, ValetKeyError, WatchEndedError
from valetkey.proxy.admission import Admitted, LocalKey, admit
from valetkey.proxy.batch import MOST_BYTES, signed_batch
from valetkey.proxy.bodies import Body, Budget, whole_body
from valetkey.proxy.connections import PROOF_SECONDS, ToolConnections, listen, quiet_about_descriptors
from valetkey.proxy.counts import Counts
from valetkey.proxy.refusals import Refusal
from valetkey.proxy.response_masking import Mask
from valetkey.proxy.served_container import ServedContainer
from valetkey.proxy.token_holder import StorageToken, TokenHolder
from valetkey.sas_parameters import fresh_token_may_help

HOST = "127.0.0.1"
DRAIN_SECONDS = 30.0
_CONNECT_SECONDS = 15.0
# Storage gives up by itself before that; so do tools.
_SILENCE_SECONDS = 120.0
# A tool that reads no further for so long has gone, whatever its socket says.
STALLED_SECONDS = 120.0
_MOST_AT_ONCE = 256
_BUFFER_BYTES = 256 * 1024
_LINE_BYTES = 32 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_SENT_AS_GIVEN = ("Content-Type", "User-Agent", "Accept", "Accept-Encoding")


class SigningProxy:
    """Serves while it is entered. `place` and `port` say what and where; `key` is what tools have to show."""

    def __init__(
        self,
        tokens: TokenHolder,
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        key: LocalKey | None = None,
        stalled_seconds: float = STALLED_SECONDS,
        proof_seconds: float = PROOF_SECONDS,
        most_open: int | None = None,
    ) -> None:
        self.key = key or LocalKey()
        self.counts = Counts()
        self.port = port
        self.place: ServedContainer
        self.first: StorageToken
        self._tokens = tokens
        self._tls = tls or trust()
        self._budget = Budget()
        self._stalled_seconds = stalled_seconds
        self._proof_seconds = proof_seconds
        self._most_open = most_open
        self._local: frozenset[str] = frozenset()
        self._under_way = 0
        self._ending = False
        self._idle = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Gets the first token, and listens then. Raises a ValetKeyError without one, OSError without the port."""
        self.first = await self._tokens.current()
        self.counts.had(self.first)
        self.place = ServedContainer.of(self.first.url)
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            # Neither a .netrc nor cookies: nothing but the token speaks for who asks.
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=_MOST_AT_ONCE),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=_CONNECT_SECONDS, connect=None, sock_read=_SILENCE_SECONDS
            ),
            read_bufsize=_BUFFER_BYTES,
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
        )
        # What the server would say of a request holds the request: nothing is said.
        quiet = logging.getLogger("valetkey.proxy.http")
        quiet.setLevel(logging.CRITICAL + 1)
        self._connections = ToolConnections(
            self._handle,
            most=self._most_open,
            proof_seconds=self._proof_seconds,
            auto_decompress=False,
            read_bufsize=_BUFFER_BYTES,
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
            logger=quiet,
            access_log=None,
        )
        self._runner = web.ServerRunner(self._connections, shutdown_timeout=1.0)
        try:
            await self._runner.setup()
            await listen(self._runner, HOST, self.port)
        except BaseException:
            await self._session.close()
            raise
        self._quiet = ExitStack()
        self._quiet.enter_context(quiet_about_descriptors())
        self.port = self._runner.addresses[0][1]
        self._local = frozenset((f"{HOST}:{self.port}", f"localhost:{self.port}"))
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Takes nothing new, and gives what is under way 30 s to end.

        It waits itself: aiohttp's own way of ending (3.14.5) drops what comes of a body from then on.
        """
        self._ending = True
        for site in self._runner.sites:
            await site.stop()
        if self._under_way:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), DRAIN_SECONDS)
        await self._runner.cleanup()
        await self._session.close()
        self._quiet.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.counts.requests += 1
        if self._ending:  # On a connection that was there before.
            return Refusal(503, "ServerBusy", "The proxy ends.").answer()
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._response(request)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _response(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            admitted = admit(
                request.method, request.raw_path, request.headers, place=self.place, key=self.key, local=self._local
            )
            self._connections.proven(request.protocol)
            async with AsyncExitStack() as held:
                return await self._forward(request, admitted, held)
        except Refusal as refusal:
            self.counts.refused += 1
            return refusal.answer()
        except ValetKeyError as error:
            return _without_token(error).answer()
        except TimeoutError:
            return Refusal(504, "OperationTimedOut", "Storage did not answer in time.").answer()
        except aiohttp.ClientError as error:
            if request.transport is None:  # The tool has gone.
                raise ConnectionResetError from None
            why = "its certificate is not trusted: see --storage-ca-file" if _untrusted(error) else type(error).__name__
            return Refusal(502, "StorageUnreachable", f"Storage cannot be reached: {why}.").answer()

    async def _forward(self, request: web.BaseRequest, admitted: Admitted, held: AsyncExitStack) -> web.StreamResponse:
        token = await self._tokens.current()
        await _continue(request)
        if admitted.is_batch:
            whole = await held.enter_async_context(whole_body(request.content, MOST_BYTES, self._budget))
        body = Body(request.content, request.content_length, self._budget) if _has_body(request) else None
        if body is not None:
            held.callback(body.drop)

        mask = Mask()

        def data(used: StorageToken) -> Any:
            mask.add(used.sas)
            if admitted.is_batch:
                kind = request.headers.get("Content-Type", "")
                return signed_batch(whole, kind, admitted.place, self.key, used.sas)
            return body

        answer = await self._send(request.method, admitted, token, data(token))
        if answer.status == 403 and self._mendable(answer, body, token):  # noqa: PLR2004 (Forbidden)
            answer.close()
            await answer.wait_for_close()
            if body is not None and body.consumed:  # It grew too large meanwhile.
                raise Refusal(503, "ServerBusy", "The token ended as the request was sent; send it again.")
            token = await self._tokens.renew(token)
            self.counts.renewed_after_403 += 1
            answer = await self._send(request.method, admitted, token, data(token))
        async with answer:
            self.counts.answered(answer.status)
            return await self._answer(request, admitted, answer, mask)

    async def _send(self, method: str, admitted: Admitted, token: StorageToken, data: Any) -> aiohttp.ClientResponse:
        self.counts.had(token)
        headers = admitted.signed_headers(token.sas)
        if isinstance(data, bytes) or admitted.answers_of_storage:
            headers.popall("Accept-Encoding", None)  # What is to be looked through may not come packed.
        if isinstance(data, bytes):
            headers.popall("Content-Length", None)
        return await self._session.request(
            method,
            # As it is: one byte that is escaped otherwise may be another blob.
            URL(admitted.url(token.sas), encoded=True),
            headers=headers,
            data=data,
            skip_auto_headers=_SENT_AS_GIVEN,
            allow_redirects=False,
        )

    def _mendable(self, answer: aiohttp.ClientResponse, body: Body | None, token: StorageToken) -> bool:
        if (body is not None and body.consumed) or not self._tokens.may_renew(token):
            return False
        return fresh_token_may_help(answer.status, answer.headers.get("x-ms-error-code", ""))

    async def _answer(
        self, request: web.BaseRequest, admitted: Admitted, answer: aiohttp.ClientResponse, mask: Mask
    ) -> web.StreamResponse:
        if answer.status in _REDIRECTS:
            raise Refusal(502, "RedirectNotFollowed", "Storage sends elsewhere, where this proxy does not follow.")
        response = web.StreamResponse(
            status=answer.status, reason=answer.reason, headers=mask.headers(answer.headers.copy())
        )
        await response.prepare(request)
        chunks: AsyncIterator[bytes] = answer.content.iter_any()
        if answer.status >= 300 or admitted.answers_of_storage:  # noqa: PLR2004 (no success)
            chunks = mask.stream(chunks)
        try:
            async for chunk in chunks:
                async with asyncio.timeout(self._stalled_seconds):
                    await response.write(chunk)
            await response.write_eof()
        except (aiohttp.ClientError, TimeoutError):
            # An answer that breaks off must not look like one that has ended.
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError from None
        return response


def trust(ca_file: Path | None = None) -> ssl.SSLContext:
    """Returns whom to trust as storage: the system's CAs, and those of a file in PEM. Raises OSError for no such."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def _has_body(request: web.BaseRequest) -> bool:
    return request.body_exists and request.content_length != 0


async def _continue(request: web.BaseRequest) -> None:
    """Asks for the body that a tool keeps back until it is wanted."""
    expected = request.headers.get("Expect", "")
    if not expected or request.version < aiohttp.HttpVersion11:
        return
    if expected.lower() != "100-continue":
        raise Refusal(417, "InvalidHeaderValue", "Expect is something else than 100-continue.")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # The answer has not begun.


def _without_token(error: ValetKeyError) -> Refusal:
    """Returns what a tool is told where there is no token: worth another try, or not."""
    final = isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or (
        isinstance(error, WatchEndedError) and error.final
    )
    if final:
        return Refusal(403, "AuthorizationFailure", f"There is no token: {error.message}.")
    return Refusal(503, "ServerBusy", f"There is no token for now: {error.message}.")


def _untrusted(error: aiohttp.ClientError) -> bool:
    return isinstance(error, aiohttp.ClientConnectorCertificateError)
