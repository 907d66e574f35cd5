"""Streams of tokens that outlive restarts of the broker, cuts of the network, and the caller's own token."""

import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import grpc

from valetkey import convert, values
from valetkey.calls.base import Calls, Interruption
from valetkey.calls.retries import Reconnections
from valetkey.errors import ConnectionLostError, ValetKeyError, WatchEndedError
from valetkey.v1 import token_service_pb2 as token_pb

# Proxies cut what is silent: HAProxy as it is often set after 50 s, Envoy after 5 min.
HEARTBEAT_SECONDS = 15
# So many missed signs of life are a cut.
_MISSED = 2.5


class StreamCalls(Calls):
    """Makes calls that answer with a stream."""

    # Older brokers send no signs of life; their silence means nothing.
    _heartbeats = False

    def _watch(
        self, method: Callable[..., Any], request: token_pb.IssueTokenRequest, on_interruption: Interruption | None
    ) -> Generator[values.Token, None, None]:
        message = token_pb.WatchTokenRequest(request=request)
        message.heartbeat_interval.seconds = HEARTBEAT_SECONDS
        reconnections = Reconnections(self._timeout, new_key=self._new_key)
        while True:
            shown = self._identity.fingerprint()
            reconnections.opening()
            try:
                for token in self._tokens_of(method, message):
                    reconnections.heard(token.expire_time)
                    yield token
                interruption: ValetKeyError = WatchEndedError(
                    "the broker ended the stream and gave no reason; call again"
                )
            except ValetKeyError as error:
                interruption = error
            if isinstance(interruption, WatchEndedError) and interruption.reason == "IDENTITY_EXPIRED":
                # Kubernetes and SPIFFE have put a fresh one into the file by now.
                if self._identity.fingerprint() in (shown, None):
                    raise interruption
                continue
            if self._closed or (pause := reconnections.pause(interruption)) is None:
                raise interruption
            if tell := on_interruption or self._on_interruption:
                tell(interruption)
            time.sleep(pause)

    def _tokens_of(
        self, method: Callable[..., Any], message: token_pb.WatchTokenRequest
    ) -> Generator[values.Token, None, None]:
        """Yields the tokens of one stream until it ends; raises WatchEndedError where the broker says why."""
        self._check_open()
        # No deadline: a stream lives as long as both ends want it.
        call = method(message, credentials=self._identity.call_credentials())
        try:
            while (answer := self._next(call)) is not None:
                self._new_key = False
                self._heartbeats = self._heartbeats or answer.HasField("heartbeat")
                if answer.HasField("token"):
                    yield convert.token(answer.token)
                elif answer.HasField("end"):
                    reason = convert.name(convert.WATCH_END_REASON, answer.end.reason)
                    raise WatchEndedError(answer.end.message or "the broker ended the stream", reason=reason)
        finally:
            call.cancel()  # does nothing to a stream that has ended

    def _next(self, call: Any) -> token_pb.WatchTokenResponse | None:
        """Returns the next answer, None at the end. Raises ConnectionLostError after too long a silence."""
        silence = HEARTBEAT_SECONDS * _MISSED
        cut = threading.Event()

        def end_it() -> None:
            cut.set()
            call.cancel()

        # It runs only while somebody waits here: what the caller does with a token may take long.
        timer = threading.Timer(silence, end_it) if self._heartbeats else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            found: token_pb.WatchTokenResponse | None = next(call, None)
        except grpc.RpcError as error:
            if cut.is_set():
                raise ConnectionLostError(
                    f"the connection to the broker at {self._endpoint} was lost: it was silent for {silence:g} s; "
                    "try again",
                    code="UNAVAILABLE",
                ) from None
            raise self._error(error) from None
        finally:
            if timer:
                timer.cancel()
        return found
