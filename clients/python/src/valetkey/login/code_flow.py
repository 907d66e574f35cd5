"""The authorization code flow with PKCE: where a browser is sent, and what its answer is worth."""

import time
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import urlencode

from valetkey.errors import ValetKeyError
from valetkey.login.issuer import Issuer, refusal, text
from valetkey.login.issuer_http import IssuerHttp
from valetkey.login.issuer_tokens import Tokens, tokens_in
from valetkey.login.login_offer import LoginOffer
from valetkey.login.pkce import Ties

_OK = 200
# Of the hash of an issuer's name: 128 bits, so that nobody finds a name with another one's path.
_DIGITS = 32


def callback_part(issuer: Issuer, *, alone: bool) -> str:
    """Returns what the path of the redirect URI ends with: nothing where the issuer is the only one that is offered.

    Of several, one that does not say in its answers whose they are (RFC 9207) has a path of its own: the answer of
    another, which was made to look like this one's, comes back elsewhere (RFC 9700, 4.4.2.2).
    """
    return "" if alone or issuer.names_itself else f"/{sha256(issuer.issuer.encode()).hexdigest()[:_DIGITS]}"


def authorization_url(issuer: Issuer, offer: LoginOffer, ties: Ties, redirect_uri: str) -> str:
    """Returns the page of the issuer that a browser is sent to for one log-in."""
    query = {
        "response_type": "code",
        "redirect_uri": redirect_uri,
        "state": ties.state,
        "code_challenge": ties.challenge,
        "code_challenge_method": "S256",
        **({"nonce": ties.nonce} if "openid" in offer.scopes else {}),
        **offer.request(),
    }
    return f"{issuer.authorization}{'&' if '?' in issuer.authorization else '?'}{urlencode(query)}"


def redeem(
    http: IssuerHttp,
    issuer: Issuer,
    offer: LoginOffer,
    ties: Ties,
    redirect_uri: str,
    answer: Mapping[str, str],
    *,
    client_secret: str = "",
) -> Tokens:
    """Returns the tokens for the answer that a browser brought back; its state is the caller's to check.

    `client_secret` is that of a client that has one. Raises UnauthenticatedError where nobody logged in or the issuer
    refuses; ValetKeyError for another issuer's answer; otherwise what `IssuerHttp.post` raises.
    """
    form = {
        "grant_type": "authorization_code",
        "client_id": offer.client_id,
        "code": _code_in(answer, issuer),
        "redirect_uri": redirect_uri,
        "code_verifier": ties.verifier,
    }
    if client_secret:
        form["client_secret"] = client_secret
    now = time.time()
    status, found = http.post(issuer.token, form)
    if status != _OK:
        raise refusal(found, "the log-in", (form["code"], ties.verifier, client_secret))
    return tokens_in(found, offer, now, nonce=ties.nonce)


def _code_in(answer: Mapping[str, str], issuer: Issuer) -> str:
    # RFC 9207: the answer of an issuer that was made to look like this one's says whose it is.
    if answer.get("iss", "" if issuer.names_itself else issuer.issuer) != issuer.issuer:
        raise ValetKeyError(
            f"the browser came back from {text(answer.get('iss')) or 'an issuer that does not say its name'}; "
            f"expected {issuer.issuer}; nothing was sent there"
        )
    if "error" in answer:
        raise refusal(answer, "the log-in")
    if not answer.get("code"):
        raise ValetKeyError("the browser came back without a code; log in again")
    return answer["code"]
