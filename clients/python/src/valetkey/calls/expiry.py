"""The calls of ExpiryService: what ends, and when, and for how long issuing would go on."""

from datetime import UTC, timedelta

from valetkey import ending_values, enums_and_times
from valetkey.calls.base import Asking, ask
from valetkey.v1 import expiry_service_pb2 as pb

_KIND = (pb.EndingKind, "ENDING_KIND_")


def list_expiring(within: timedelta | None = None) -> Asking[list[ending_values.Ending]]:
    """Returns what ends `within` that time or has ended, the first to end first; all that can end if left out.

    At most 1,000 of them; last comes what could not be looked at just now (`not_looked_at`). Raises
    PermissionDeniedError for callers who have none of the roles admin, operator, viewer.
    """
    request = pb.ListExpiringRequest(within=enums_and_times.given_duration(within, "within"))
    answer = yield from ask(request, pb.ListExpiringResponse, repeatable=True)
    return [
        ending_values.Ending(
            kind=enums_and_times.to_word(_KIND, each.kind),
            name=each.name,
            end_time=enums_and_times.moment(each, "end_time"),
            known_by=each.known_by,
            mend=each.mend,
            not_looked_at=each.not_looked_at,
        )
        for each in answer.endings
    ]


def get_issuing_left() -> Asking[ending_values.IssuingLeft]:
    """Returns for how long tokens could go on being issued if Vault went away now, or Entra.

    The worker that answers tells it of its own memory. Raises PermissionDeniedError for callers who have no role.
    """
    answer = yield from ask(pb.GetIssuingLeftRequest(), pb.GetIssuingLeftResponse, repeatable=True)
    return ending_values.IssuingLeft(
        without_vault_end_time=answer.without_vault_end_time.ToDatetime(UTC),
        vault_away_since_time=enums_and_times.moment(answer, "vault_away_since_time"),
        accounts=tuple(
            ending_values.AccountIssuingLeft(
                connector=each.connector,
                account=each.account,
                end_time=each.end_time.ToDatetime(UTC),
                failing_since_time=enums_and_times.moment(each, "failing_since_time"),
            )
            for each in answer.accounts
        ),
        accounts_left_out=answer.accounts_left_out,
        connectors_without_key=tuple(answer.connectors_without_key),
        connectors_without_key_left_out=answer.connectors_without_key_left_out,
        connectors_with_lasting_keys=answer.connectors_with_lasting_keys,
    )
