"""What the clock and an account's settings mean for tokens: lines of a checklist."""

from collections.abc import Sequence

from valetkey_broker.connectors.checklist import Checklist, VerifyStep
from valetkey_broker.model import CheckOutcome
from valetkey_broker.model.account_settings import AccountSettings, PolicyAction

_WARN_SECONDS = 60.0
BACKDATED_SECONDS = 900
"""By so much tokens begin in the past: a clock that is ahead by more makes tokens that are not valid yet."""
_RANK = (CheckOutcome.OK, CheckOutcome.WARNING, CheckOutcome.FAILED)

_Finding = tuple[CheckOutcome, str, str]


def check_clock(checks: Checklist, skew: float | None) -> None:
    """Says how far the broker's clock is from Azure's; `skew` is in seconds, negative where it is behind."""
    if skew is None:
        checks.not_tried(VerifyStep.CLOCK, "no answer said what time it is")
        return
    if abs(skew) <= _WARN_SECONDS:
        checks.found(VerifyStep.CLOCK, CheckOutcome.OK, "less than a minute apart")
        return
    where = "ahead of" if skew > 0 else "behind"
    outcome = CheckOutcome.FAILED if abs(skew) > BACKDATED_SECONDS else CheckOutcome.WARNING
    what = (
        "tokens are not valid yet, or end too early" if outcome is CheckOutcome.FAILED else "tokens are shifted by it"
    )
    checks.found(
        VerifyStep.CLOCK,
        outcome,
        f"the broker's clock is {abs(skew):.0f} s {where} Azure's: {what}",
        "Synchronise the clock of the machine that the broker runs on (NTP).",
    )


def check_settings(checks: Checklist, account: str, settings: AccountSettings, longest_token: int) -> None:
    """Says what of an account's settings keeps tokens from working.

    `longest_token` is how many seconds there are at most between start and end of one.
    """
    findings = [*_user_bound(settings), *_expiration(account, settings, longest_token), *_facts(settings)]
    outcome = max((finding[0] for finding in findings), key=_RANK.index, default=CheckOutcome.OK)
    messages = "; ".join(message for _, message, _ in findings)
    mends = "\n".join(mend for _, _, mend in findings if mend)
    checks.found(VerifyStep.SETTINGS, outcome, messages, mends, account)


def _user_bound(settings: AccountSettings) -> Sequence[_Finding]:
    if settings.user_bound is PolicyAction.NONE:
        return ()
    blocks = settings.user_bound is PolicyAction.BLOCK
    does = "refuses" if blocks else "logs"
    message = f"its SAS policy {does} user delegation SAS that are not bound to a user, as the broker's are"
    mend = "Set requireUserBoundUserDelegationSas of the account's SAS policy to false."
    return [(CheckOutcome.FAILED if blocks else CheckOutcome.WARNING, message, mend)]


def _expiration(account: str, settings: AccountSettings, longest_token: int) -> Sequence[_Finding]:
    most = settings.longest_sas
    if most is None or most >= longest_token:
        return ()
    does = "refuses" if settings.longest_sas_action is PolicyAction.BLOCK else "logs"
    left = most - BACKDATED_SECONDS
    if left <= 0:
        blocked = CheckOutcome.FAILED if does == "refuses" else CheckOutcome.WARNING
        mend = f"az storage account update --name {account} --sas-expiration-period 0.12:15:00"
        return (
            (blocked, f"its SAS policy allows {most} s from start to end of a token, and {does} all of ours", mend),
        )
    message = f"its SAS policy {does} tokens that live longer than {left} s"
    mend = (
        f"Keep tokens that short (max_ttl_seconds = {left} in [issuing], or --max-ttl {left}s of its grants), or allow "
        f"more:\naz storage account update --name {account} --sas-expiration-period 0.12:15:00"
    )
    return [(CheckOutcome.WARNING, message, mend)]


def _facts(settings: AccountSettings) -> Sequence[_Finding]:
    said = []
    if settings.hierarchical_namespace is not None:
        flat = "no hierarchical namespace: tokens are for containers and blobs, not for directories"
        said.append("hierarchical namespace" if settings.hierarchical_namespace else flat)
    if settings.shared_key_access is not None:
        said.append(f"shared key access is {'on' if settings.shared_key_access else 'off'}")
    if settings.public_network is False:
        said.append("reached over private endpoints only")
    elif settings.only_named_networks:
        said.append("reached from the networks that its firewall names, which have to be its consumers' too")
    return [(CheckOutcome.OK, fact, "") for fact in said]
