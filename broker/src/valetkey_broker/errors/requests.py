"""Errors about the call itself: who calls, how often, and what the request looks like."""

from datetime import UTC, datetime

from valetkey_broker.errors.base import BrokerError, Reason
from valetkey_broker.model import InvalidFieldError


def credentials_missing(message: str) -> BrokerError:
    """The call carried no credentials; the message says which are taken."""
    return BrokerError(Reason.CREDENTIALS_MISSING, message)


def credentials_invalid(message: str, *, evidence: str = "", problem: str = "") -> BrokerError:
    """What the caller presented is not to be believed.

    The message says what was wrong and what to do, never how close it was. `evidence` is `jwt` or `certificate`, and
    `problem` one word for programs; neither is given for API keys.
    """
    metadata = {"evidence": evidence, "problem": problem} if evidence else None
    return BrokerError(Reason.CREDENTIALS_INVALID, message, metadata)


def credentials_expired(what: str, at: float, advice: str, *, evidence: str = "") -> BrokerError:
    """The time of what the caller presented ended `at` (Unix seconds); `what` is its name in a sentence."""
    # Whole seconds, UTC; a moment that no calendar has was checked before.
    expired_at = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    metadata = {"expired_at": expired_at, **({"evidence": evidence} if evidence else {})}
    return BrokerError(Reason.CREDENTIALS_EXPIRED, f"the {what} expired at {expired_at}; {advice}", metadata)


def identity_expired() -> BrokerError:
    """The caller's identity expired while the call was being answered."""
    message = "the caller's identity expired during the call; call again with a new one"
    return BrokerError(Reason.CREDENTIALS_EXPIRED, message)


def identity_revoked() -> BrokerError:
    """The caller's identity was revoked while the call was being answered."""
    return credentials_invalid("the caller's identity was revoked during the call; call again with one that is good")


def issuer_unavailable(retry_after: float = 5.0) -> BrokerError:
    """Whether the caller's token is good cannot be told now. `retry_after` is in seconds."""
    message = "the keys of the token's issuer cannot be had right now; try again soon"
    return BrokerError(Reason.ISSUER_UNAVAILABLE, message, {"evidence": "jwt"}, retry_after=retry_after)


def role_required(message: str, *, method: str, needs: str) -> BrokerError:
    """The caller lacks the role that `method`, a full method name, needs; `needs` names it."""
    return BrokerError(Reason.ROLE_REQUIRED, message, {"method": method, "needs": needs})


def rate_limited(message: str, *, limit: str, per: str, retry_after: float) -> BrokerError:
    """The caller hit a limit. `limit` says of what, `per` of whom, `retry_after` is in seconds."""
    return BrokerError(Reason.RATE_LIMITED, message, {"limit": limit, "per": per}, retry_after=retry_after)


def invalid_field(error: InvalidFieldError) -> BrokerError:
    """A field of the request is malformed."""
    return BrokerError(Reason.INVALID_FIELD, str(error), {"field": error.field, "expected": error.expected})


def method_unknown(method: str) -> BrokerError:
    """The broker does not serve that method."""
    return BrokerError(Reason.METHOD_UNKNOWN, f"this broker does not serve {method}", {"method": method})


def deadline_exceeded(limit: float) -> BrokerError:
    """The call took too long; `limit` is the broker's own, in seconds."""
    message = f"the call took longer than its deadline, or than the {limit:g} s this broker allows"
    return BrokerError(Reason.DEADLINE_EXCEEDED, message, {"limit": f"{limit:g}s"})


def broker_stopping() -> BrokerError:
    """The broker is about to end."""
    return BrokerError(Reason.NOT_SERVING, "this broker stops; try again, another one may answer")


def not_serving() -> BrokerError:
    """The broker has just been started and has nothing in memory yet."""
    return BrokerError(
        Reason.NOT_SERVING,
        "the broker has not reached Vault yet; try again shortly",
        retry_after=2.0,
        public_message="the broker has not read its own store yet; try again shortly",
    )


def suspended_meanwhile() -> BrokerError:
    """The machine was suspended, and what the broker knows may be of long ago."""
    return BrokerError(
        Reason.NOT_SERVING,
        "the broker's machine was suspended, and Vault was not asked yet what changed meanwhile; try again shortly",
        retry_after=1.0,
        public_message="the broker's machine was suspended, and it did not read its own store since; try again shortly",
    )
