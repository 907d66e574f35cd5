"""The words in which evidence is refused: what was wrong and what to do, never how close it was."""

from datetime import UTC, datetime

from valetkey_broker.errors import BrokerError, Reason


def refused(evidence: str, problem: str, message: str) -> BrokerError:
    """Returns CREDENTIALS_INVALID. `evidence` is `jwt` or `certificate`; `problem` is one word for programs."""
    return BrokerError(Reason.CREDENTIALS_INVALID, message, {"evidence": evidence, "problem": problem})


def issuer_away(retry_after: float = 5.0) -> BrokerError:
    """Returns ISSUER_UNAVAILABLE: whether the caller's token is good cannot be told. `retry_after` is in seconds."""
    return BrokerError(
        Reason.ISSUER_UNAVAILABLE,
        "the keys of the token's issuer cannot be had right now; try again soon",
        {"evidence": "jwt"},
        retry_after=retry_after,
    )


def expired(what: str, at: float, advice: str, evidence: str = "") -> BrokerError:
    """Returns CREDENTIALS_EXPIRED for evidence whose time ended `at` (Unix seconds)."""
    # Whole seconds, UTC; a moment that no calendar has was checked before.
    expired_at = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    metadata = {"expired_at": expired_at}
    if evidence:
        metadata["evidence"] = evidence
    return BrokerError(Reason.CREDENTIALS_EXPIRED, f"the {what} expired at {expired_at}; {advice}", metadata)
