"""One try for tokens, by a stream or by a call, in a thread of its own; what comes of it goes into an inbox."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import grpc

from valetkey import token_messages
from valetkey.callers.blocking import BlockingCaller
from valetkey.calls import streams
from valetkey.calls.base import path_of
from valetkey.clock_through_suspend import now
from valetkey.errors import ValetKeyError
from valetkey.identity import CallerFingerprint, Identity
from valetkey.renewal.thread_start import start
from valetkey.token_values import Token
from valetkey.v1 import token_service_pb2 as token_pb

# Whose an attempt is whose file was replaced amid it: of none that another one could be of.
NOBODY_KNOWS = CallerFingerprint(b"")
# How long a stream may take for its first token, as a share of a call's time: proxies that hold answers back until
# the end are found out while those who wait still do.
_PATIENCE = 0.5


@dataclass(frozen=True, slots=True)
class Heard:
    """What an attempt says: a token or nothing but a sign of life."""

    attempt: "Attempt"
    token: Token | None


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt is over: with an error, or, a call, with its token."""

    attempt: "Attempt"
    error: ValetKeyError | None


class Attempt:
    """A stream or a call under way. Times are of the clock `now`."""

    def __init__(
        self,
        caller: BlockingCaller,
        request: token_pb.IssueTokenRequest,
        inbox: "SimpleQueue[Any]",
        *,
        by_call: bool,
        whose: CallerFingerprint | None,
    ) -> None:
        """Begins it. Raises SettingsError where the identity's file cannot be used, UnavailableError for no thread.

        `whose` is the fingerprint of the caller, of before.
        """
        self.by_call = by_call
        self.whose = whose
        self.asked = self.last_heard = now()
        self.tokens = 0
        self.shown = caller.terms.identity.fingerprint()
        self._caller = caller
        self._inbox = inbox
        metadata = caller.terms.identity.call_metadata()
        way = self._call if by_call else self._follow
        self._call_under_way: Any = None
        self._over = False
        self._thread = threading.Thread(target=self._run, args=(way, request, metadata), daemon=True)
        self._thread.name = "valetkey-token"
        start(self._thread)

    def cancel(self) -> None:
        """Ends it; what it still says counts for nothing."""
        self._over = True
        if self._call_under_way is not None:
            self._call_under_way.cancel()

    def join(self, seconds: float) -> None:
        """Waits for its thread."""
        self._thread.join(seconds)

    @property
    def runs(self) -> bool:
        """Whether its thread does."""
        return self._thread.is_alive()

    @property
    def deadline(self) -> float:
        """Until when something has to be heard."""
        if self.by_call:
            return float("inf")  # the call has a deadline of its own
        if not self.tokens:
            return self.asked + self._caller.terms.timeout * _PATIENCE
        return self.last_heard + streams.longest_silence() if self._caller.heartbeats else float("inf")

    def is_of_another(self, identity: Identity) -> bool:
        """Tells whether the identity's file holds something else by now, with which another attempt could be made."""
        if self.shown is None or identity.fingerprint() in (self.shown, None):
            return False
        return identity.is_usable()

    def _run(
        self,
        way: Callable[[token_pb.IssueTokenRequest, Any], ValetKeyError | None],
        request: token_pb.IssueTokenRequest,
        metadata: Any,
    ) -> None:
        try:
            error = way(request, metadata)
        except ValetKeyError as said:
            error = said
        except grpc.RpcError as failed:
            error = self._caller.error(failed)
        except Exception as failed:  # noqa: BLE001 (whoever waits hears of it; its text could hold a token)
            error = self._unreadable(failed)
        # In any case: a feed that does not hear of the end asks for no other token.
        self._inbox.put(Ended(self, error))

    def _call(self, request: token_pb.IssueTokenRequest, metadata: Any) -> None:
        method = self._caller.connection.unary_unary(
            path_of(token_pb.IssueTokenResponse),
            request_serializer=token_pb.IssueTokenRequest.SerializeToString,
            response_deserializer=token_pb.IssueTokenResponse.FromString,
        )
        answer = method(request, timeout=self._caller.terms.timeout, metadata=metadata)
        self._see_whose()
        self._inbox.put(Heard(self, token_messages.token(answer)))

    def _follow(self, request: token_pb.IssueTokenRequest, metadata: Any) -> ValetKeyError:
        message = token_pb.WatchTokenRequest(request=request)
        message.heartbeat_interval.seconds = streams.HEARTBEAT_SECONDS
        method = self._caller.connection.unary_stream(
            path_of(token_pb.WatchTokenResponse),
            request_serializer=token_pb.WatchTokenRequest.SerializeToString,
            response_deserializer=token_pb.WatchTokenResponse.FromString,
        )
        stream = self._call_under_way = method(message, metadata=metadata)
        if self._over:
            stream.cancel()
        self._see_whose()
        for answer in stream:
            self._caller.heartbeats = self._caller.heartbeats or answer.HasField("heartbeat")
            self._inbox.put(Heard(self, streams.token_in(answer)))
        return streams.ended_without_a_word()

    def _see_whose(self) -> None:
        """Looks once more, after key, token or certificate were read, whether they were those of the caller."""
        if self._caller.terms.identity.caller_fingerprint() != self.whose:
            self.whose = NOBODY_KNOWS

    def _unreadable(self, error: Exception) -> ValetKeyError:
        if isinstance(error, ValueError) and (self._over or self._caller.closed):  # gRPC's word for a closed channel
            return ValetKeyError("this token source is closed", code="CANCELLED")
        return ValetKeyError(
            f"the answer of the broker at {self._caller.terms.endpoint} is no token that can be read "
            f"({type(error).__name__}); expected one of a Valet Key broker"
        )
