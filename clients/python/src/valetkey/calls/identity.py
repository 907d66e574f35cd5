"""The call of IdentityService: who the caller is to the broker."""

from valetkey import enums_and_times
from valetkey.calls.base import Asking, ask
from valetkey.identity_values import CallerIdentity
from valetkey.v1 import identity_service_pb2 as pb

_AUTHENTICATION = (pb.Authentication, "AUTHENTICATION_")


def who_am_i() -> Asking[CallerIdentity]:
    """Returns as whom the broker takes the caller, how that was proved, and until when it counts."""
    answer = yield from ask(pb.WhoAmIRequest(), pb.WhoAmIResponse, repeatable=True)
    return CallerIdentity(
        principal=answer.principal,
        roles=tuple(enums_and_times.to_word(enums_and_times.ROLE, number) for number in answer.roles),
        authentication=enums_and_times.to_word(_AUTHENTICATION, answer.authentication),
        expire_time=enums_and_times.moment(answer, "expire_time"),
        attributes=dict(sorted(answer.attributes.items())),
    )
