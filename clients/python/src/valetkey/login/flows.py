"""The two ways to log in: a browser on this machine, or a code that is typed in on another one."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from valetkey.errors import UnauthenticatedError, UnavailableError, ValetKeyError
from valetkey.login.code_flow import authorization_url, callback_part, redeem
from valetkey.login.issuer import Issuer, refusal, text
from valetkey.login.issuer_http import IssuerHttp
from valetkey.login.issuer_tokens import Tokens, tokens_in
from valetkey.login.login_offer import LoginOffer, is_https
from valetkey.login.loopback import listening
from valetkey.login.pkce import Ties

_BROWSER_SECONDS = 300.0
_OK = 200
_DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
# RFC 8628: how often to ask where the issuer does not say, and how much more seldom after `slow_down`.
_INTERVAL, _SLOWER = 5.0, 5.0
_LONGEST_INTERVAL, _LONGEST_WAIT = 60.0, 3600.0
# What Entra calls some of the errors of RFC 8628.
_DECLINED = ("access_denied", "authorization_declined")
_EXPIRED = ("expired_token", "code_expired")


class Teller(Protocol):
    """Tells the person at the terminal what to do."""

    def open_browser(self, url: str) -> None:
        """Shows the page of a browser log-in, as an address at least."""

    def show_code(self, url: str, code: str, seconds: float) -> None:
        """Says on which page to type a code in, and for how long it is good."""


def by_browser(
    http: IssuerHttp, issuer: Issuer, offer: LoginOffer, teller: Teller, *, alone: bool, port: int = 0
) -> Tokens:
    """Logs in by authorization code with PKCE, and returns the tokens; `alone` tells that no other issuer is offered.

    Raises UnauthenticatedError where nobody did, or the issuer refuses; otherwise what `IssuerHttp.post` raises.
    """
    if not issuer.authorization:
        raise ValetKeyError(f"the issuer {issuer.issuer} has no page to log in at; try: valetkey login --device")
    ties = Ties()
    with listening(ties.state, port, callback_part(issuer, alone=alone)) as loopback:
        teller.open_browser(authorization_url(issuer, offer, ties, loopback.redirect_uri))
        answer = loopback.answer(_BROWSER_SECONDS)
    return redeem(http, issuer, offer, ties, loopback.redirect_uri, answer)


def by_device(
    http: IssuerHttp,
    issuer: Issuer,
    offer: LoginOffer,
    teller: Teller,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Tokens:
    """Logs in by a code that is typed in elsewhere, and returns the tokens. Raises what `by_browser` raises."""
    if not issuer.device:
        raise ValetKeyError(f"the issuer {issuer.issuer} gives no device codes; run valetkey login where a browser is")
    status, answer = http.post(issuer.device, offer.request())
    code, user_code, page = (answer.get(name) for name in ("device_code", "user_code", "verification_uri"))
    if status != _OK:
        raise refusal(answer, "a device code")
    if not (isinstance(code, str) and code and isinstance(user_code, str) and user_code and is_https(page)):
        raise ValetKeyError("the issuer's answer holds no device code with a page, https://, to type it in")
    seconds = min(_seconds(answer, "expires_in", 900.0), _LONGEST_WAIT)
    interval = _seconds(answer, "interval", _INTERVAL)
    teller.show_code(str(page), text(user_code), seconds)
    form = {"grant_type": _DEVICE_CODE, "client_id": offer.client_id, "device_code": code}
    return _polled(http, issuer, offer, form, seconds, interval, sleep)


def _polled(
    http: IssuerHttp,
    issuer: Issuer,
    offer: LoginOffer,
    form: Mapping[str, str],
    seconds: float,
    interval: float,
    sleep: Callable[[float], None],
) -> Tokens:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sleep(min(interval, _LONGEST_INTERVAL))
        now = time.time()
        try:
            status, found = http.post(issuer.token, form)
        except UnavailableError:
            interval *= 2  # as RFC 8628, section 3.5, has it
            continue
        if status == _OK:
            return tokens_in(found, offer, now)
        error = found.get("error")
        if error == "slow_down":
            interval += _SLOWER
        elif error in _DECLINED:
            raise UnauthenticatedError("the log-in was declined on the other device; nothing was changed")
        elif error in _EXPIRED:
            break
        elif error != "authorization_pending":
            raise refusal(found, "the log-in", (form["device_code"],))
    raise UnauthenticatedError(
        f"nobody typed the code in within {seconds:g} s; for another one: valetkey login --device"
    )


def _seconds(answer: Mapping[str, Any], name: str, default: float) -> float:
    value = answer.get(name)
    good = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return float(value) if good else default  # type: ignore[arg-type]
