"""The one place where the broker's errors become gRPC statuses."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from valetkey.v1 import errors_pb2
from valetkey_broker.errors import BrokerError, Reason, deadline_exceeded, invalid_field, method_unknown
from valetkey_broker.model import InvalidFieldError, Principal, Role
from valetkey_broker.observability.logging import trace_id_var
from valetkey_broker.rpc.checklist_messages import checklist

# A status travels in trailing metadata, of which clients take 8 KiB by default: of a longer one they tell nothing but
# RESOURCE_EXHAUSTED, now and then up to 16 KiB and always beyond. What does not fit is cut, the least needed first.
_MOST_TRAILER_BYTES = 7 * 1024
_MOST_MESSAGE_BYTES = 1_800
# How long each value of the metadata may be, in characters, and whether ErrorInfo repeats the metadata.
_STEPS = ((1_400, True), (1_400, False), (200, False), (40, False))
# Where a call has many errors, each has so much.
_SHORT_MESSAGE_BYTES, _SHORT_VALUE = 700, 300
DOMAIN = "valetkey"

_RUNS_THE_BROKER = frozenset({Role.ADMIN, Role.OPERATOR})

Trailer = tuple[tuple[str, str | bytes], ...]

_CODES: Mapping[Reason, grpc.StatusCode] = {
    Reason.CREDENTIALS_MISSING: grpc.StatusCode.UNAUTHENTICATED,
    Reason.CREDENTIALS_INVALID: grpc.StatusCode.UNAUTHENTICATED,
    Reason.CREDENTIALS_EXPIRED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.ROLE_REQUIRED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.RESOURCE_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.INVALID_FIELD: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.RESOURCE_AMBIGUOUS: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.CONNECTOR_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.CONNECTOR_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Reason.API_KEY_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.API_KEY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Reason.CONFLICT: grpc.StatusCode.ABORTED,
    Reason.CLOUD_CREDENTIAL_REJECTED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.CLOUD_PERMISSION_MISSING: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.RESOURCE_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.CLOUD_THROTTLED: grpc.StatusCode.UNAVAILABLE,
    Reason.CLOUD_REQUEST_REFUSED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.CLOUD_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.VAULT_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.SCOPE_UNSUPPORTED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.NOT_SERVING: grpc.StatusCode.UNAVAILABLE,
    Reason.METHOD_UNKNOWN: grpc.StatusCode.UNIMPLEMENTED,
    Reason.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.GRANT_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.GRANT_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Reason.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.LEDGER_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.ISSUER_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.SECRET_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.SECRET_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Reason.SECRET_IN_USE: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ROTATION_UNDER_WAY: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ROTATION_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.NO_PREVIOUS_CREDENTIAL: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ACCESS_REVOKED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.REVOCATION_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
}

_NAMES = {each.value[0]: each.name for each in grpc.StatusCode}


def as_broker_error(error: Exception, method: str, limit: float | None = None) -> BrokerError | None:
    """Returns what was raised during a call of `method` as the broker's error; None for an unexpected one.

    `limit` is the broker's own deadline, in seconds; None for what has none of its own.
    """
    if isinstance(error, BrokerError):
        return error
    if isinstance(error, InvalidFieldError):
        return invalid_field(error)
    # What generated code raises where its servicer, the health service's, leaves a method out.
    if isinstance(error, NotImplementedError) and method.startswith("/grpc."):
        return method_unknown(method)
    if isinstance(error, TimeoutError) and limit is not None:
        return deadline_exceeded(limit)
    return None


def code_of(error: BrokerError | None) -> grpc.StatusCode:
    """Returns the status code of an error; None, an unexpected one, is INTERNAL."""
    return grpc.StatusCode.INTERNAL if error is None else _CODES[error.reason]


def name_of(code: Any) -> str:
    """Returns the name of a status code, which gRPC gives as itself or as its number."""
    return _NAMES.get(code, getattr(code, "name", grpc.StatusCode.UNKNOWN.name))


def told_to(caller: Principal | None, error: BrokerError) -> BrokerError:
    """Returns `error` as `caller` may read it: in full only for those who run the broker."""
    runs_the_broker = caller is not None and not caller.roles.isdisjoint(_RUNS_THE_BROKER)
    return error if runs_the_broker else error.public()


def detail(error: BrokerError | None, request_id: str, *, longest: int = _STEPS[0][0]) -> errors_pb2.ErrorDetail:
    """Returns what programs get to know of an error; of an unexpected one only the request id.

    Values of the metadata are cut to `longest` characters.
    """
    message = errors_pb2.ErrorDetail(request_id=request_id, trace_id=trace_id_var.get())
    if error is not None:
        message.reason = errors_pb2.ErrorReason.Value(f"ERROR_REASON_{error.reason.name}")
        message.metadata.update({name: _cut(value, longest) for name, value in error.metadata.items()})
        if error.retry_after is not None:
            message.retry_delay.FromMilliseconds(round(error.retry_after * 1000))
    return message


def to_status(
    error: BrokerError | None, request_id: str, caller: Principal | None
) -> tuple[grpc.StatusCode, str, Trailer]:
    """Returns code, message and trailing metadata for an error; None stands for an unexpected one.

    `caller` decides how much is told; None is one who is not known.
    """
    code = code_of(error)
    error = None if error is None else told_to(caller, error)
    message = (
        _cut_to_bytes(error.message, _MOST_MESSAGE_BYTES)
        if error is not None
        else f"internal error; the broker's log has it under {request_id}"
    )
    for longest, twice in _STEPS:
        details = _details(error, request_id, longest=longest, twice=twice)
        envelope = _envelope(code, message, details)
        if sum(map(_cost, message)) + len(envelope) * 4 // 3 <= _MOST_TRAILER_BYTES:
            break
    if error is not None and error.checks:
        room = (_MOST_TRAILER_BYTES - sum(map(_cost, message))) * 3 // 4 - len(envelope)
        if lines := checklist(error.checks, room):
            envelope = _envelope(code, message, [*details, lines])
    return code, message, (("grpc-status-details-bin", envelope), ("x-request-id", request_id))


def short_status(
    error: BrokerError | None, request_id: str, caller: Principal | None
) -> tuple[grpc.StatusCode, str, errors_pb2.ErrorDetail]:
    """Returns code, message and detail of one error among many of a call, each cut so that a thousand fit."""
    told = None if error is None else told_to(caller, error)
    message = (
        _cut_to_bytes(told.message, _SHORT_MESSAGE_BYTES)
        if told is not None
        else f"internal error; the broker's log has it under {request_id}"
    )
    return code_of(error), message, detail(told, request_id, longest=_SHORT_VALUE)


def _details(error: BrokerError | None, request_id: str, *, longest: int, twice: bool) -> list[Message]:
    """Returns our own detail, and the same as clients in other languages know it: google.rpc's ErrorInfo, RetryInfo.

    Source: https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto
    """
    own = detail(error, request_id, longest=longest)
    reason = error.reason.name if error is not None else "INTERNAL"
    details: list[Message] = [own, ErrorInfo(reason=reason, domain=DOMAIN, metadata=own.metadata if twice else {})]
    if own.HasField("retry_delay"):
        delay = Duration(seconds=own.retry_delay.seconds, nanos=own.retry_delay.nanos)
        details.append(RetryInfo(retry_delay=delay))
    return details


def _envelope(code: grpc.StatusCode, message: str, details: Sequence[Message]) -> bytes:
    envelope = errors_pb2.ErrorStatus(code=code.value[0], message=message)
    for each in details:
        envelope.details.add().Pack(each)
    return envelope.SerializeToString()


def _cost(character: str) -> int:
    """Returns how many bytes a character of a status message takes: gRPC percent-encodes all but printable ASCII."""
    plain = character.isascii() and character.isprintable() and character != "%"
    return 1 if plain else 3 * len(character.encode())


def _cut_to_bytes(text: str, most: int) -> str:
    spent = list(accumulate(_cost(character) for character in text[: most + 1]))
    if not spent or (len(text) <= most and spent[-1] <= most):
        return text
    return f"{text[: bisect_right(spent, most - _cost('…'))]}…"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
