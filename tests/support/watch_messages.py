"""What the fake broker's streams of tokens say."""

from datetime import UTC, datetime, timedelta

from support.fake_broker import token
from valetkey.v1 import token_service_pb2 as token_pb

HEARTBEAT = token_pb.WatchTokenResponse(heartbeat=token_pb.Heartbeat())


def step(number: int, *, life: float | None = None) -> token_pb.WatchTokenResponse:
    """Returns a token; with `life` it ends so many seconds from now, else in a year long gone."""
    request = token_pb.IssueTokenRequest(resource_id="az://models", permissions=[1, 6])
    answer = token(request, number)
    if life is not None:
        answer.expire_time.FromDatetime(datetime.now(UTC) + timedelta(seconds=life))
    return token_pb.WatchTokenResponse(token=answer)


def end(reason: str, message: str = "over") -> token_pb.WatchTokenResponse:
    """Returns the end of a stream."""
    number = token_pb.WatchEndReason.Value(f"WATCH_END_REASON_{reason}")
    return token_pb.WatchTokenResponse(end=token_pb.WatchEnd(reason=number, message=message))
