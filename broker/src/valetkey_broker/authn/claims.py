"""What a token must claim to be believed here; looked at only once its signature has been verified."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from valetkey_broker.errors import credentials_expired, credentials_invalid

# OpenID Connect Core, section 2, has 255 ASCII characters. Blanks only inside, as in GitHub's names of environments:
# what begins or ends with one looks like something else. No *: pasted into a grant, a subject must mean itself and
# nothing wider.
_SUBJECT = re.compile(r"(?! )[ -)+-~]{1,255}(?<! )")
_ATTRIBUTE = re.compile(r"[ -~]{1,256}")
# The year 5138; keeps what comes out a date that calendars have.
_LAST_MOMENT = 100_000_000_000


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What one issuer's tokens must claim. `attributes` are paths of claim names. Times are in seconds."""

    audience: str
    leeway_seconds: float = 30.0
    max_lifetime_seconds: float | None = None
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claims:
    """What was read from a token. `expires` is in Unix seconds, the leeway included."""

    subject: str
    expires: float
    attributes: Mapping[str, str]


def check_claims(claims: Mapping[str, Any], rules: ClaimRules, now: float) -> Claims:
    """Returns what a verified token says. Raises CREDENTIALS_INVALID or CREDENTIALS_EXPIRED."""
    audience = claims.get("aud")
    if rules.audience not in (audience if isinstance(audience, list) else [audience]):
        raise credentials_invalid(
            "the token is not made for this broker; get one with the broker's audience",
            evidence="jwt",
            problem="audience",
        )
    expires = _check_times(claims, rules, now)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise credentials_invalid(
            "the token's subject is missing or not plain; expected printable ASCII without *, blanks inside only",
            evidence="jwt",
            problem="subject",
        )
    found = {name: value for name, path in rules.attributes.items() if (value := _at(claims, path)) is not None}
    return Claims(subject, expires, MappingProxyType(found))


def _check_times(claims: Mapping[str, Any], rules: ClaimRules, now: float) -> float:
    expires, not_before, issued = (_moment(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        raise credentials_invalid(
            "the token does not say when it ends; expected the claim exp", evidence="jwt", problem="expiry"
        )
    until = expires + rules.leeway_seconds
    if until <= now:
        raise credentials_expired("token", expires, "get a new one from its issuer", evidence="jwt")
    if not_before is not None and not_before > now + rules.leeway_seconds:
        raise credentials_invalid(
            "the token is not valid yet; check the clocks of issuer and broker", evidence="jwt", problem="not-yet-valid"
        )
    if issued is not None and issued > now + rules.leeway_seconds:
        raise credentials_invalid(
            "the token is from the future; check the clocks of issuer and broker",
            evidence="jwt",
            problem="issued-later",
        )
    limit = rules.max_lifetime_seconds
    if limit is not None and (issued is None or expires - issued > limit):
        raise credentials_invalid(
            f"the token lives too long; this broker takes at most {limit:g} s", evidence="jwt", problem="lifetime"
        )
    return until


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    # bool is an int in Python; NaN and infinities, numbers in Python's JSON, are not between these bounds.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= _LAST_MOMENT:
        raise credentials_invalid(
            f"the token's claim {name} is not a time; expected Unix seconds", evidence="jwt", problem="malformed"
        )
    return float(value)


def _at(claims: Mapping[str, Any], path: Sequence[str]) -> str | None:
    """Returns the text at the end of a path; None where there is none, or none that could be shown."""
    value: Any = claims
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) and _ATTRIBUTE.fullmatch(value) else None
