"""What a stream of tokens asks, and how its messages are read; no I/O."""

from collections.abc import Iterable
from datetime import timedelta

from valetkey import enums_and_times, token_messages
from valetkey.calls.tokens import token_request
from valetkey.errors import ConnectionLostError, WatchEndedError
from valetkey.token_values import Token
from valetkey.v1 import token_service_pb2 as token_pb

# Proxies cut what is silent: HAProxy as it is often set after 50 s, Envoy after 5 min.
HEARTBEAT_SECONDS = 15
# So many missed signs of life are a cut.
_MISSED = 2.5
_END_REASON = (token_pb.WatchEndReason, "WATCH_END_REASON_")


def watch_request(
    resource: str,
    permissions: Iterable[str],
    ttl: timedelta | None,
    connector: str | None,
    source_ip: str | None,
    purpose: str | None,
) -> token_pb.WatchTokenRequest:
    """Returns the request for a stream. Raises InvalidArgumentError for what cannot be sent."""
    message = token_pb.WatchTokenRequest(
        request=token_request(resource, permissions, ttl, connector, source_ip, purpose)
    )
    message.heartbeat_interval.seconds = HEARTBEAT_SECONDS
    return message


def token_in(answer: token_pb.WatchTokenResponse) -> Token | None:
    """Returns the token of a message, None for a sign of life. Raises WatchEndedError where it is the last one."""
    if answer.HasField("end"):
        reason = enums_and_times.name(_END_REASON, answer.end.reason)
        raise WatchEndedError(answer.end.message or "the broker ended the stream", reason=reason)
    return token_messages.token(answer.token) if answer.HasField("token") else None


def longest_silence() -> float:
    """Returns after how many seconds of silence a stream with heartbeats counts as cut."""
    return HEARTBEAT_SECONDS * _MISSED


def silent(endpoint: str) -> ConnectionLostError:
    """Returns the error of a stream that was silent for too long."""
    return ConnectionLostError(
        f"the connection to the broker at {endpoint} was lost: it was silent for {longest_silence():g} s; try again",
        code="UNAVAILABLE",
    )


def ended_without_a_word() -> WatchEndedError:
    """Returns the error of a stream that is over, and nobody said why."""
    return WatchEndedError("the broker ended the stream and gave no reason; call again")
