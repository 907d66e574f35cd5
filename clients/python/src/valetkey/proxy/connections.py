"""Connections of tools: how many there are, and how long one may take to show that it may come in.

Everybody on this machine can open connections to the proxy; only what its own tools have sent makes one worth keeping.
"""

import asyncio
import errno
import logging
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from valetkey.proxy.refusals import Refusal

_log = logging.getLogger("valetkey")
MOST_OPEN = 512
BACKLOG = 64
# For the whole head of a request that is let in, counted from when the connection was made.
PROOF_SECONDS = 10.0
# Between two requests of one that has shown itself; half a head does not prolong it.
IDLE_SECONDS = 75.0
_TOLD_EACH_SECONDS = 60.0
# What the process has open besides connections.
_OTHER_DESCRIPTORS = 64
_LEAST_OPEN = 8
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class ToolConnections(web.Server):
    """Answers with `handler` on connections that it bounds. Other arguments are those of aiohttp's RequestHandler."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        most: int | None = None,
        proof_seconds: float = PROOF_SECONDS,
        **named: Any,
    ) -> None:
        named |= {"keepalive_timeout": IDLE_SECONDS}
        super().__init__(handler, **named)
        self._most = most or most_open()
        self._proof_seconds = proof_seconds
        self._named = named
        self._open: set[web.RequestHandler] = set()
        # The oldest first, each with the end of its time.
        self._unproven: dict[web.RequestHandler, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}

    def __call__(self) -> "_ToolConnection":
        """Returns what serves one connection."""
        return _ToolConnection(self, loop=asyncio.get_running_loop(), **self._named)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Gives a connection its time; beyond the limit, the oldest one that has shown nothing goes."""
        super().connection_made(handler, transport)
        loop = asyncio.get_running_loop()
        self._open.add(handler)
        self._unproven[handler] = (transport, loop.call_later(self._proof_seconds, self._drop, handler))
        if len(self._open) > self._most:
            self._drop(next(iter(self._unproven)))

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forgets a connection."""
        self._forget(handler)
        super().connection_lost(handler, exc)

    def proven(self, handler: web.RequestHandler) -> None:
        """Keeps a connection on which a request was let in."""
        _, timer = self._unproven.pop(handler, (None, None))
        if timer is not None:
            timer.cancel()

    def _drop(self, handler: web.RequestHandler) -> None:
        transport, _ = self._unproven[handler]
        self._forget(handler)
        # Not at once: aiohttp (3.14.5) fails where a connection is lost while it is being made.
        asyncio.get_running_loop().call_soon(transport.abort)

    def _forget(self, handler: web.RequestHandler) -> None:
        self._open.discard(handler)
        self.proven(handler)


class _ToolConnection(web.RequestHandler):
    __slots__ = ("_body",)  # of the last request that began

    def data_received(self, data: bytes) -> None:
        """Takes what comes in, and notes what ends with the last request of it."""
        super().data_received(data)
        if self._messages:
            self._body = self._messages[-1][1]

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio goes by what it returns
        """Answers a tool that ends its side after a whole request, as `nc -N` does, and then closes the connection.

        aiohttp (3.14.5) closes it at once. What breaks off before its end gets no answer, nor may storage see an end.
        """
        idle = self._waiter is not None and not self._waiter.done() and not self._messages
        body = getattr(self, "_body", None)
        if idle or body is None or not body.is_eof():
            return False
        self.close()  # Once it has answered.
        return True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what is no HTTP, or what failed here: aiohttp's own answer repeats the request line."""
        _ = exc, message
        if request.writer.output_size > 0:
            raise ConnectionResetError  # An answer has begun: it may only break off.
        refusal = Refusal(500, "InternalError", "The proxy failed.")
        if status < 500:  # noqa: PLR2004 (what the tool did)
            refusal = Refusal(400, "InvalidInput", "The request is not understood; expected HTTP/1.1.")
        answer = refusal.answer()
        answer.force_close()
        return answer


def most_open() -> int:
    """Returns how many connections there may be: each may need a second one, to storage, within the soft limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_OPEN
    return max(_LEAST_OPEN, min(MOST_OPEN, (soft - _OTHER_DESCRIPTORS) // 2))


async def listen(runner: web.ServerRunner, host: str, port: int) -> None:
    """Serves at an address; raises OSError where that is taken.

    asyncio (3.11) accepts as many connections at a time as its backlog, before it serves any, and where descriptors run
    out it tries again as often at once: so it is told of one, and the system of the backlog that is meant.
    """
    listener = socket.create_server((host, port), backlog=BACKLOG)
    try:
        await web.SockSite(runner, listener, backlog=1).start()
    except BaseException:
        listener.close()
        raise
    listener.listen(BACKLOG)


@contextmanager
def quiet_about_descriptors() -> Iterator[None]:
    """Has the running loop say once a minute that descriptors have run out, in a line: by itself it floods stderr."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    told = float("-inf")

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal told
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _NO_DESCRIPTORS):
            (before or type(loop).default_exception_handler)(loop, context)
        elif loop.time() >= told + _TOLD_EACH_SECONDS:
            told = loop.time()
            _log.warning("the proxy takes no further connections for now: %s; expected a higher limit", error.strerror)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(before)
