"""Streams of tokens that outlive restarts of the broker, cuts of the network, and the caller's own token."""

import threading
import time
from collections.abc import Generator
from typing import Any

import grpc

from valetkey.callers.base import Interruption, identity_expired
from valetkey.callers.blocking import BlockingCaller
from valetkey.calls import streams
from valetkey.calls.base import path_of
from valetkey.calls.retries import Reconnections
from valetkey.errors import ValetKeyError
from valetkey.token_values import Token
from valetkey.v1 import token_service_pb2 as token_pb


def watch(
    caller: BlockingCaller, message: token_pb.WatchTokenRequest, on_interruption: Interruption | None
) -> Generator[Token, None, None]:
    """Yields the tokens of one stream after the other, as long as another one makes sense."""
    reconnections = Reconnections(caller.terms.timeout)
    while True:
        shown = caller.terms.identity.fingerprint()
        reconnections.opening()
        try:
            for token in tokens_of(caller, message):
                reconnections.heard(token)
                yield token
            interruption: ValetKeyError = streams.ended_without_a_word()
        except ValetKeyError as error:
            interruption = error
        renewed = identity_expired(interruption) and caller.terms.identity.fingerprint() not in (shown, None)
        time.sleep(caller.pause_before_another_stream(interruption, reconnections, on_interruption, renewed=renewed))


def tokens_of(caller: BlockingCaller, message: token_pb.WatchTokenRequest) -> Generator[Token, None, None]:
    """Yields the tokens of one stream until it ends; raises WatchEndedError where the broker says why."""
    caller.check_open()
    method = caller.connection.unary_stream(
        path_of(token_pb.WatchTokenResponse),
        request_serializer=token_pb.WatchTokenRequest.SerializeToString,
        response_deserializer=token_pb.WatchTokenResponse.FromString,
    )
    # No deadline: a stream lives as long as both ends want it.
    stream = method(message, metadata=caller.terms.identity.call_metadata())
    try:
        while (answer := _next(caller, stream)) is not None:
            caller.heartbeats = caller.heartbeats or answer.HasField("heartbeat")
            if (token := streams.token_in(answer)) is not None:
                yield token
    finally:
        stream.cancel()  # does nothing to a stream that has ended


def _next(caller: BlockingCaller, stream: Any) -> token_pb.WatchTokenResponse | None:
    """Returns the next answer, None at the end. Raises ConnectionLostError after too long a silence."""
    cut = threading.Event()

    def end_it() -> None:
        cut.set()
        stream.cancel()

    # It runs only while somebody waits here: what the caller does with a token may take long.
    timer = threading.Timer(streams.longest_silence(), end_it) if caller.heartbeats else None
    if timer:
        timer.daemon = True
        timer.start()
    try:
        found: token_pb.WatchTokenResponse | None = next(stream, None)
    except grpc.RpcError as error:
        if cut.is_set():
            raise streams.silent(caller.terms.endpoint) from None
        raise caller.error(error) from None
    finally:
        if timer:
            timer.cancel()
    return found
