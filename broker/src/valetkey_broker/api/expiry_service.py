"""ExpiryService: message to domain, one use case, domain to message."""

from datetime import timedelta

import grpc.aio

from valetkey.v1 import expiry_service_pb2 as pb
from valetkey.v1 import expiry_service_pb2_grpc
from valetkey_broker.api.convert import given_seconds, timestamp
from valetkey_broker.expiry.endings import Endings
from valetkey_broker.model import InvalidFieldError
from valetkey_broker.model.ending import Ending

_MOST = 1_000
_LONGEST_SECONDS = 100 * 366 * 24 * 3600


class ExpiryService(expiry_service_pb2_grpc.ExpiryServiceServicer):
    """Tells what ends."""

    def __init__(self, endings: Endings) -> None:
        self._endings = endings

    async def ListExpiring(  # noqa: N802 (gRPC's naming)
        self,
        request: pb.ListExpiringRequest,
        context: grpc.aio.ServicerContext[pb.ListExpiringRequest, pb.ListExpiringResponse],
    ) -> pb.ListExpiringResponse:
        """Lists what ends."""
        _ = context
        seconds = given_seconds(request, "within")
        if seconds is None:
            found = await self._endings.all()
        elif 0 <= seconds <= _LONGEST_SECONDS:
            found = await self._endings.within(timedelta(seconds=seconds))
        else:
            raise InvalidFieldError("within", f"is {seconds}s", "0 s to 100 years")
        return pb.ListExpiringResponse(
            endings=[_message(each) for each in found[:_MOST]], left_out=max(len(found) - _MOST, 0)
        )


def _message(ending: Ending) -> pb.Ending:
    kind = pb.EndingKind.Value(f"ENDING_KIND_{ending.kind.name}")
    message = pb.Ending(kind=kind, name=ending.name, known_by=ending.known_by, mend=ending.mend)
    if ending.ends_at is not None:
        message.end_time.CopyFrom(timestamp(ending.ends_at))
    return message
