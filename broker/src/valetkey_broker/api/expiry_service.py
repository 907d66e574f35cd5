"""ExpiryService: message to domain, one use case, domain to message."""

from datetime import UTC, datetime, timedelta

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from valetkey.v1 import expiry_service_pb2 as pb
from valetkey.v1 import expiry_service_pb2_grpc
from valetkey_broker.api.convert import given_seconds, timestamp
from valetkey_broker.expiry.endings import Endings
from valetkey_broker.issuing.issuing_left_in_outage import AccountLeft, IssuingLeft
from valetkey_broker.model import InvalidFieldError
from valetkey_broker.model.ending import Ending

_MOST = 1_000
_MOST_LEFT = 100
_LONGEST_SECONDS = 100 * 366 * 24 * 3600


class ExpiryService(expiry_service_pb2_grpc.ExpiryServiceServicer):
    """Tells what ends, and how long issuing would go on."""

    def __init__(self, endings: Endings, issuing_left: IssuingLeft) -> None:
        self._endings = endings
        self._issuing_left = issuing_left

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

    async def GetIssuingLeft(  # noqa: N802 (gRPC's naming)
        self,
        request: pb.GetIssuingLeftRequest,
        context: grpc.aio.ServicerContext[pb.GetIssuingLeftRequest, pb.GetIssuingLeftResponse],
    ) -> pb.GetIssuingLeftResponse:
        """Tells for how long tokens could go on being issued."""
        _ = request, context
        left = await self._issuing_left.now()
        return pb.GetIssuingLeftResponse(
            without_vault_end_time=_at(left.without_vault_until),
            vault_away_since_time=_at(left.vault_away_since),
            accounts=[_account(each) for each in left.accounts[:_MOST_LEFT]],
            accounts_left_out=max(len(left.accounts) - _MOST_LEFT, 0),
            connectors_without_key=left.without_key[:_MOST_LEFT],
            connectors_without_key_left_out=max(len(left.without_key) - _MOST_LEFT, 0),
            connectors_with_lasting_keys=left.lasting,
        )


def _account(left: AccountLeft) -> pb.AccountIssuingLeft:
    return pb.AccountIssuingLeft(
        connector=left.connector,
        account=left.account,
        end_time=_at(left.until),
        failing_since_time=_at(left.failing_since),
    )


def _at(seconds: float | None) -> Timestamp | None:
    return None if seconds is None else timestamp(datetime.fromtimestamp(seconds, UTC))


def _message(ending: Ending) -> pb.Ending:
    kind = pb.EndingKind.Value(f"ENDING_KIND_{ending.kind.name}")
    message = pb.Ending(
        kind=kind,
        name=ending.name,
        known_by=ending.known_by,
        mend=ending.mend,
        not_looked_at=ending.not_looked_at,
    )
    if ending.ends_at is not None:
        message.end_time.CopyFrom(timestamp(ending.ends_at))
    return message
