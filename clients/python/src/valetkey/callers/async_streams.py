"""Streams of tokens for tasks, which outlive the same as those of `blocking_streams`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc.aio

from valetkey.callers.asynchronous import AsyncCaller
from valetkey.callers.base import Interruption, identity_expired
from valetkey.calls import streams
from valetkey.calls.base import path_of
from valetkey.calls.retries import Reconnections
from valetkey.errors import ValetKeyError
from valetkey.token_values import Token
from valetkey.v1 import token_service_pb2 as token_pb


async def watch(
    caller: AsyncCaller, message: token_pb.WatchTokenRequest, on_interruption: Interruption | None
) -> AsyncGenerator[Token, None]:
    """Yields the tokens of one stream after the other, as long as another one makes sense."""
    reconnections = Reconnections(caller.terms.timeout)
    while True:
        shown = await caller.fingerprint()
        reconnections.opening()
        try:
            async with aclosing(tokens_of(caller, message)) as tokens:
                async for token in tokens:
                    reconnections.heard(token)
                    yield token
            interruption: ValetKeyError = streams.ended_without_a_word()
        except ValetKeyError as error:
            interruption = error
        renewed = identity_expired(interruption) and await caller.fingerprint() not in (shown, None)
        pause = caller.pause_before_another_stream(interruption, reconnections, on_interruption, renewed=renewed)
        await asyncio.sleep(pause)


async def tokens_of(caller: AsyncCaller, message: token_pb.WatchTokenRequest) -> AsyncGenerator[Token, None]:
    """Yields the tokens of one stream until it ends; raises WatchEndedError where the broker says why."""
    caller.check_open()
    await caller.renew_login()
    # No deadline: a stream lives as long as both ends want it.
    stream = await caller.connection.stream(
        path_of(token_pb.WatchTokenResponse),
        message,
        token_pb.WatchTokenResponse,
        metadata=caller.terms.identity.call_metadata(),
    )
    try:
        while (answer := await _next(caller, stream)) is not None:
            caller.heartbeats = caller.heartbeats or answer.HasField("heartbeat")
            if (token := streams.token_in(answer)) is not None:
                yield token
    finally:
        await stream.close()


async def _next(caller: AsyncCaller, stream: Any) -> token_pb.WatchTokenResponse | None:
    """Returns the next answer, None at the end. Raises ConnectionLostError after too long a silence."""
    try:
        async with asyncio.timeout(streams.longest_silence() if caller.heartbeats else None):
            found: token_pb.WatchTokenResponse | None = await stream.read()
            return found
    except grpc.RpcError as error:
        raise caller.error(error) from None
    except TimeoutError:
        raise streams.silent(caller.terms.endpoint) from None
    except asyncio.CancelledError:
        raise caller.why_cancelled() from None
