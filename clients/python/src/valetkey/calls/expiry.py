"""The call of ExpiryService: what ends, and when."""

from datetime import timedelta

from valetkey import endings, scalars
from valetkey.calls.base import Asking, ask
from valetkey.v1 import expiry_service_pb2 as pb

_KIND = (pb.EndingKind, "ENDING_KIND_")


def list_expiring(within: timedelta | None = None) -> Asking[list[endings.Ending]]:
    """Returns what ends `within` that time or has ended, the first to end first; all that can end if left out.

    At most 1,000 of them. Raises PermissionDeniedError for callers who have none of the roles admin, operator, viewer.
    """
    request = pb.ListExpiringRequest(within=scalars.given_duration(within, "within"))
    answer = yield from ask(request, pb.ListExpiringResponse, repeatable=True)
    return [
        endings.Ending(
            kind=scalars.to_word(_KIND, each.kind),
            name=each.name,
            end_time=scalars.moment(each, "end_time"),
            known_by=each.known_by,
            mend=each.mend,
        )
        for each in answer.endings
    ]
