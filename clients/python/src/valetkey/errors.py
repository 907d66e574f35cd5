"""The errors of the client: one class per kind of failure, each with what a program and a person need."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import cast

import grpc
from google.protobuf.message import DecodeError

from valetkey.checklist_values import Check, checks_of
from valetkey.v1 import errors_pb2

# How gRPC tells that the network, or a proxy on the way, ended a call: a broker never says so.
_CUT = re.compile(r"Stream removed|RST_STREAM|[Cc]onnection reset|[Ss]ocket closed|GOAWAY|Broken pipe")
_NOT_VERIFIED = (
    (
        "certificate has expired",
        "has expired; whoever runs the broker has to renew it, unless this machine's clock is wrong",
    ),
    ("certificate is not yet valid", "is not valid yet; check this machine's clock"),
)
_NEVER_CONNECTED = re.compile(r"failed to connect to all addresses|errors resolving|DNS resolution failed")
_DETAILS_KEY = "grpc-status-details-bin"


class ValetKeyError(Exception):
    """A call that failed, or could not be made.

    `reason` is the name of a `valetkey.v1.ErrorReason` without its prefix, such as `CONNECTOR_NOT_FOUND`, and
    empty where the broker gave none; `code` is the name of the gRPC status code, empty where none came back;
    `request_id` finds the call in the broker's log, and so does `trace_id`, of the caller's own trace, where it sent
    one; `retry_delay` says how long to wait before the next try. `checks`
    are the lines of what was checked, where verifying a connector failed.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        code: str = "",
        metadata: Mapping[str, str] | None = None,
        request_id: str = "",
        trace_id: str = "",
        retry_delay: timedelta | None = None,
    ) -> None:
        self.message = message
        self.reason = reason
        self.code = code
        self.metadata = dict(metadata or {})
        self.request_id = request_id
        self.trace_id = trace_id
        self.retry_delay = retry_delay
        self.checks: tuple[Check, ...] = ()
        super().__init__(message)


class SettingsError(ValetKeyError):
    """The endpoint, the CA file, the identity or the config file is missing or cannot be used."""


class InvalidArgumentError(ValetKeyError):
    """A value is malformed or out of range; the broker says so or, where it cannot be sent, the client."""


class UnauthenticatedError(ValetKeyError):
    """The API key, the token or the client certificate is missing, unknown, revoked or expired."""


class PermissionDeniedError(ValetKeyError):
    """No role of the caller allows the call, or no grant lets it have what it asks for."""


class NotFoundError(ValetKeyError):
    """There is no such connector, API key, grant or resource."""


class AlreadyExistsError(ValetKeyError):
    """The name is taken."""


class ConflictError(ValetKeyError):
    """Somebody else changed the object in between."""


class FailedPreconditionError(ValetKeyError):
    """The request is sound, and things as they are do not allow it: Azure refused, or the id is ambiguous."""


class UnavailableError(ValetKeyError):
    """Something is away for now; trying again makes sense, after `retry_delay` where it is set."""


class BrokerUnreachableError(UnavailableError):
    """No connection to the broker came about."""


class ConnectionLostError(UnavailableError):
    """The connection to the broker was cut under a call. Whether a change took place is not known."""


class BrokerTlsError(ValetKeyError):
    """Client and broker cannot agree on whom to trust, one way or the other: trying again does not help."""


class DeadlineExceededError(ValetKeyError):
    """No answer came in time. Whether a change took place is not known."""


class WatchEndedError(ValetKeyError):
    """A stream of tokens ended; those it gave live on until their own expiry.

    `reason` is the name of a `valetkey.v1.WatchEndReason` without its prefix. `final` tells that the same caller
    need not ask again as things are: the grant, the connector or the API key is gone, or an operator revoked it.
    """

    @property
    def final(self) -> bool:
        """Whether calling again cannot help, unless somebody changes something."""
        return self.reason in ("GRANT_GONE", "CONNECTOR_GONE", "IDENTITY_REVOKED", "ACCESS_REVOKED")

    @property
    def interrupted(self) -> bool:
        """Whether the broker only stops or moves, or something on the way ended the stream: another goes on at once."""
        return self.reason in ("SHUTDOWN", "")


_BY_CODE: dict[str, type[ValetKeyError]] = {
    "INVALID_ARGUMENT": InvalidArgumentError,
    "OUT_OF_RANGE": InvalidArgumentError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "NOT_FOUND": NotFoundError,
    "ALREADY_EXISTS": AlreadyExistsError,
    "ABORTED": ConflictError,
    "FAILED_PRECONDITION": FailedPreconditionError,
    "UNAVAILABLE": UnavailableError,
    "RESOURCE_EXHAUSTED": UnavailableError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
}


def from_rpc_error(error: grpc.RpcError, endpoint: str, timeout: float) -> ValetKeyError:
    """Returns the error of a failed call; `timeout` is the call's, in seconds."""
    call = cast("grpc.Call", error)  # what a stub raises is both
    code = call.code().name
    text = call.details() or ""
    if told := _told(call):
        detail, checks = told
        found = from_detail(detail, text, code)
        found.checks = checks
        return found
    if code == "UNAVAILABLE":
        return _unreachable(text, endpoint)
    if code == "CANCELLED" or (code in ("UNKNOWN", "INTERNAL") and _CUT.search(text)):
        return _lost(text, endpoint)
    if code == "DEADLINE_EXCEEDED":
        text = f"the broker at {endpoint} did not answer within {timeout:g} s; try again, or allow more time"
    elif code == "UNIMPLEMENTED":
        text = f"the broker at {endpoint} does not know this call; is it older than this client?"
    else:
        text = f"the broker at {endpoint} answered {code}: {text or 'no message'}"
    return _BY_CODE.get(code, ValetKeyError)(text, code=code)


def code_name(number: int) -> str:
    """Returns the name of a gRPC status code; of one that gRPC does not know, none."""
    return next((code.name for code in grpc.StatusCode if code.value[0] == number), "")


def from_detail(detail: errors_pb2.ErrorDetail, message: str, code: str = "") -> ValetKeyError:
    """Returns the error that an ErrorDetail of the broker describes."""
    return _BY_CODE.get(code, ValetKeyError)(
        message,
        reason=reason_name(detail.reason),
        code=code,
        metadata=detail.metadata,
        request_id=detail.request_id,
        trace_id=detail.trace_id,
        retry_delay=detail.retry_delay.ToTimedelta() if detail.HasField("retry_delay") else None,
    )


def _told(call: grpc.Call) -> tuple[errors_pb2.ErrorDetail, tuple[Check, ...]] | None:
    detail, checklist = errors_pb2.ErrorDetail(), errors_pb2.Checklist()
    for key, value in call.trailing_metadata() or ():
        if key != _DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            status = errors_pb2.ErrorStatus.FromString(value)
            if status.details and status.details[0].Unpack(detail):
                any(more.Unpack(checklist) for more in status.details[1:])
                return detail, checks_of(checklist.checks)
        except DecodeError:
            # Not ours, or broken on the way: the status code and message still tell something.
            return None
    return None


def reason_name(number: int) -> str:
    """Returns the name of an ErrorReason without its prefix, empty for the unspecified one."""
    if number == errors_pb2.ERROR_REASON_UNSPECIFIED:
        return ""
    try:
        return errors_pb2.ErrorReason.Name(errors_pb2.ErrorReason.ValueType(number)).removeprefix("ERROR_REASON_")
    except ValueError:
        return f"REASON_{number}"  # a newer broker's


def _unreachable(text: str, endpoint: str) -> ValetKeyError:
    # gRPC tells these cases apart by its text alone.
    if "CERTIFICATE_VERIFY_FAILED" in text:
        why = next(
            (why for said, why in _NOT_VERIFIED if said in text),
            "is not signed by a CA this client trusts; check the CA file (ca_file, --ca-file or VALETKEY_CA_FILE), and "
            "that the endpoint is the broker's",
        )
        return BrokerTlsError(f"the certificate of {endpoint} {why}", code="UNAVAILABLE")
    if re.search(r"hostname verification|peer name", text, re.IGNORECASE):
        return BrokerTlsError(
            f"the certificate at {endpoint} is for another host name; "
            "use the name or address that the broker's certificate lists",
            code="UNAVAILABLE",
        )
    if "NO_COMMON_SIGNATURE_ALGORITHMS" in text:
        return BrokerTlsError(
            f"the client certificate cannot be shown to {endpoint}: brokers take no key of its kind; "
            "expected a certificate with an RSA, P-256 or P-384 key",
            code="UNAVAILABLE",
        )
    if "WRONG_VERSION_NUMBER" in text:
        return BrokerTlsError(
            f"{endpoint} answers, but not in TLS; check the port: a broker serves TLS only",
            code="UNAVAILABLE",
        )
    if not _NEVER_CONNECTED.match(text):
        return _lost(text, endpoint)
    cause = "its host name does not resolve" if "resol" in text.partition(";")[0] else _cause(text)
    # All that a refused client certificate leaves behind, in TLS 1.3.
    more = ", and the client certificate if one is asked for" if "Socket closed" in text else ""
    return BrokerUnreachableError(
        f"cannot reach the broker at {endpoint}: {cause}; "
        f"check the endpoint, that the broker runs, and the CA file{more}",
        code="UNAVAILABLE",
    )


def _lost(text: str, endpoint: str) -> ConnectionLostError:
    return ConnectionLostError(
        f"the connection to the broker at {endpoint} was lost: {_cause(text)}; try again", code="UNAVAILABLE"
    )


def _cause(text: str) -> str:
    last = text.rsplit("last error: ", 1)[-1]
    return re.sub(r"^(?:UNKNOWN|UNAVAILABLE): ", "", last).strip(" ;") or "no answer"
