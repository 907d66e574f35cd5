"""Failed calls as programs and people see them."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from support.inproc import error_detail
from valetkey.v1 import errors_pb2


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failed call told its caller. `reason` comes without its prefix; `retry_after` is in seconds."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]
    request_id: str
    retry_after: float | None
    error: grpc.aio.AioRpcError

    @property
    def short(self) -> tuple[grpc.StatusCode, str]:
        """Code and reason."""
        return self.code, self.reason


async def failure(call: Awaitable[Any]) -> Failure:
    """Awaits a call that has to fail, and holds what every failure must carry: one detail, one request id."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return as_failure(caught.value)


def as_failure(error: grpc.aio.AioRpcError) -> Failure:
    """Returns what an error carries. Fails where its parts do not agree."""
    detail = error_detail(error)
    trailers: dict[str, Any] = dict(tuple(error.trailing_metadata() or ()))
    envelope = errors_pb2.ErrorStatus.FromString(trailers["grpc-status-details-bin"])
    assert envelope.message == error.details()
    _assert_alike(envelope, detail)
    assert trailers["x-request-id"] == detail.request_id != ""
    delay = detail.retry_delay.ToMilliseconds() / 1000 if detail.HasField("retry_delay") else None
    return Failure(
        code=error.code(),
        message=error.details() or "",
        reason=errors_pb2.ErrorReason.Name(detail.reason).removeprefix("ERROR_REASON_"),
        metadata=dict(detail.metadata),
        request_id=detail.request_id,
        retry_after=delay,
        error=error,
    )


def _assert_alike(envelope: errors_pb2.ErrorStatus, detail: errors_pb2.ErrorDetail) -> None:
    """Fails where google.rpc's details do not say the same as our own."""
    info, delay = ErrorInfo(), RetryInfo()
    assert envelope.details[1].Unpack(info)
    reason = errors_pb2.ErrorReason.Name(detail.reason).removeprefix("ERROR_REASON_")
    assert (info.domain, info.reason) == ("valetkey", "INTERNAL" if reason == "UNSPECIFIED" else reason)
    assert dict(info.metadata) in (dict(detail.metadata), {})
    verified = bool(envelope.details) and envelope.details[-1].Is(errors_pb2.Checklist.DESCRIPTOR)
    assert len(envelope.details) == 2 + detail.HasField("retry_delay") + verified
    if detail.HasField("retry_delay"):
        assert envelope.details[2].Unpack(delay)
        assert delay.retry_delay == detail.retry_delay
