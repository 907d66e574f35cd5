"""The one place where the broker's errors become gRPC statuses."""

from collections.abc import Mapping

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage

from valetkey.v1 import errors_pb2
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import InvalidFieldError, Principal, Role

# A status travels in trailing metadata, of which clients take 8 KiB by default: a longer one is lost whole. The
# message is in it twice, once in base64.
_MOST_CHARACTERS = 1_400

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
}


def code_of(error: BrokerError | None) -> grpc.StatusCode:
    """Returns the status code of an error; None, an unexpected one, is INTERNAL."""
    return grpc.StatusCode.INTERNAL if error is None else _CODES[error.reason]


def from_invalid_field(error: InvalidFieldError) -> BrokerError:
    """Returns a malformed field as the broker's error."""
    return BrokerError(Reason.INVALID_FIELD, str(error), {"field": error.field, "expected": error.expected})


def told_to(caller: Principal | None, error: BrokerError) -> BrokerError:
    """Returns `error` as `caller` may read it: in full only for those who run the broker."""
    runs_the_broker = caller is not None and not caller.roles.isdisjoint(_RUNS_THE_BROKER)
    return error if runs_the_broker else error.public()


def detail(error: BrokerError | None, request_id: str) -> errors_pb2.ErrorDetail:
    """Returns what programs get to know of an error; of an unexpected one only the request id."""
    message = errors_pb2.ErrorDetail(request_id=request_id)
    if error is not None:
        message.reason = errors_pb2.ErrorReason.Value(f"ERROR_REASON_{error.reason.name}")
        message.metadata.update({name: _cut(value) for name, value in error.metadata.items()})
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
        _cut(error.message) if error is not None else f"internal error; the broker's log has it under {request_id}"
    )
    envelope = errors_pb2.ErrorStatus(code=code.value[0], message=message)
    packed = AnyMessage()
    packed.Pack(detail(error, request_id))
    envelope.details.append(packed)
    return (
        code,
        message,
        (("grpc-status-details-bin", envelope.SerializeToString()), ("x-request-id", request_id)),
    )


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"
