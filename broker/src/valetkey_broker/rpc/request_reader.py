"""The request of a call, read when it is wanted and no earlier."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio

from valetkey_broker.model import InvalidFieldError

# What was asked for is put on record with a refusal; a caller who does not say so at once is not waited for.
_RECORD_SECONDS = 1.0


class Incoming:
    """One call's request: a message, or a stream of them.

    Messages are decoded here, behind the guard: gRPC would tell anybody the decoder's own words, key or no key.
    """

    __slots__ = ("_context", "_decode", "_read", "_stream", "request")

    def __init__(self, context: Any, decode: Callable[[bytes], Any], stream: AsyncIterator[bytes] | None) -> None:
        """`stream` are the raw messages of a method that takes many."""
        self._context = context
        self._decode = decode
        self._stream = stream
        self._read = False
        self.request: Any = None

    async def read(self) -> Any:
        """Returns the request; waits for the message of a method that takes one. Raises InvalidFieldError."""
        self._read = True
        if self._stream is not None:
            self.request = self._each(self._stream)
            return self.request
        raw = await self._context.read()
        if raw is grpc.aio.EOF:
            raise InvalidFieldError("request", "is missing", "one message of the method's request type")
        self.request = self._one(raw)
        return self.request

    async def for_the_record(self) -> Any:
        """Returns the message of a refused call, also where it was refused unread; None where there is none."""
        if self._stream is not None:
            return None
        if not self._read:
            try:
                async with asyncio.timeout(_RECORD_SECONDS):
                    await self.read()
            except (InvalidFieldError, TimeoutError):
                return None
        return self.request

    def _one(self, raw: bytes) -> Any:
        try:
            return self._decode(raw)
        except Exception:  # noqa: BLE001 (decoders raise what they like; their words may quote the request)
            raise InvalidFieldError("request", "cannot be decoded", "a message of the method's request type") from None

    async def _each(self, stream: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for raw in stream:
            yield self._one(raw)


Reader = Callable[[Any, Any], Incoming]
"""Makes the request of a call, out of what gRPC hands over with it and the call's context."""


def reader_of(handler: Any) -> Reader:
    """Returns what reads the requests of a method."""
    decode = handler.request_deserializer or _as_it_is
    if handler.request_streaming:
        return lambda raw, context: Incoming(context, decode, raw)
    return lambda _raw, context: Incoming(context, decode, None)


def unread(raw: Any, context: Any) -> Incoming:
    """Reads nothing into what a method gets that does not exist."""
    return Incoming(context, _as_it_is, raw)


def _as_it_is(raw: bytes) -> bytes:
    return raw
