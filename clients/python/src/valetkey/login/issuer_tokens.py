"""What an issuer gives for a log-in, looked at before it is kept."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from valetkey.errors import ValetKeyError
from valetkey.login.issuer import text
from valetkey.login.login_offer import LoginOffer
from valetkey.unchecked_claims import claims_in

# What a header carries unharmed; the broker takes tokens of up to 8 KiB.
_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")
_LONGEST_SECONDS = 10 * 366 * 24 * 3600.0
_MOST_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Tokens:
    """The access token, until when it counts by this machine's clock, in Unix seconds, and what renews it."""

    access: str = field(repr=False)
    received_at: float
    expires_at: float
    refresh: str = field(default="", repr=False)


def tokens_in(
    answer: Mapping[str, Any], offer: LoginOffer, now: float, *, nonce: str = "", refresh: str = ""
) -> Tokens:
    """Returns the tokens in an answer; `refresh` is the token that renewed them, good for as long as no other comes.

    The signatures are the broker's to check. That the answer is the issuer's, TLS says (OpenID Connect Core 1.0,
    section 3.1.3.7). Raises ValetKeyError for tokens that the broker would not take, or that are another log-in's.
    """
    access = answer.get("access_token")
    if not isinstance(access, str) or not _TOKEN.fullmatch(access):
        raise ValetKeyError(
            "the issuer's answer holds no access token that can be sent; expected one JWT of up to 8 KiB"
        )
    if str(answer.get("token_type", "")).lower() != "bearer":
        raise ValetKeyError("the issuer's access token is no bearer token; expected token_type Bearer")
    claims = claims_in(access)
    if claims is None:
        raise ValetKeyError(
            f"the access token of {offer.issuer} is no JWT, which the broker cannot check; "
            "whoever runs the broker has to have people log in for other scopes, or for an audience"
        )
    if claims.get("iss") != offer.issuer:
        raise ValetKeyError(
            f"the access token is of the issuer {text(claims.get('iss'))}; the broker takes those of {offer.issuer} "
            "(of Entra, an app with requestedAccessTokenVersion 2)"
        )
    if offer.audience not in _audiences(claims):
        raise ValetKeyError(
            f"the access token is for {text(', '.join(_audiences(claims))) or 'nobody'}; the broker takes those for "
            f"{offer.audience}; whoever runs the broker has to have people log in for other scopes"
        )
    _check_id_token(answer.get("id_token"), offer, nonce)
    renewing = answer.get("refresh_token")
    if not isinstance(renewing, str) or not renewing:
        renewing = refresh
    return Tokens(access, now, now + _life(answer, claims), renewing)


def _check_id_token(token: object, offer: LoginOffer, nonce: str) -> None:
    if token is None:
        return
    claims = claims_in(token) if isinstance(token, str) else None
    if claims is None or claims.get("iss") != offer.issuer or offer.client_id not in _audiences(claims):
        raise ValetKeyError("the issuer's ID token is another client's, or none; expected one for this log-in")
    if nonce and claims.get("nonce") != nonce:
        raise ValetKeyError("the issuer's ID token belongs to another log-in: its nonce is not the one that was sent")


def _life(answer: Mapping[str, Any], claims: Mapping[str, Any]) -> float:
    """Returns for how many seconds the token counts; as a span, for this machine's clock may be wrong."""
    told = answer.get("expires_in")
    if isinstance(told, str) and told.isdecimal() and len(told) <= _MOST_DIGITS:
        told = int(told)
    life = _number(told)
    expires, issued = _number(claims.get("exp")), _number(claims.get("iat"))
    if life is None and expires is not None and issued is not None:
        life = expires - issued
    if life is None or not 0 < life <= _LONGEST_SECONDS:
        raise ValetKeyError("the issuer does not say how long its access token counts; expected expires_in, in seconds")
    return life


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    found = claims.get("aud")
    return [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, str)]
