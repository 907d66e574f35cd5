"""Logging in at an issuer: there and back, in the browser that began it."""

import hmac
import time
from hashlib import sha256
from urllib.parse import urlsplit

from starlette.responses import RedirectResponse, Response

from valetkey import SettingsError, UnauthenticatedError, ValetKeyError
from valetkey.login.login_offer import LoginOffer
from valetkey.login.pkce import Ties
from valetkey_console.pages.login.login_page import page
from valetkey_console.pages.login.session_begin_and_end import begin
from valetkey_console.safety.local_paths import local_path
from valetkey_console.sessions.cookies import SealedCookie, TooLargeError
from valetkey_console.visits.endpoint import log
from valetkey_console.visits.visit import Visit

# Seconds from there to back.
_SECONDS = 600
# Log-ins under way in one browser, each in a tab; then all are forgotten.
_MOST_PENDING = 4
_NOT_OURS = (
    "This is not the answer to a log-in that was begun in this browser within the last 10 minutes. "
    "Nothing was done; log in again."
)
_ANOTHERS = (
    "The answer came back from another issuer than the one that was chosen. Nothing was sent there; log in again, "
    "and tell whoever runs the broker if it happens again."
)
_TOO_LARGE = (
    "The access token is too large to be kept in a browser. Whoever runs the issuer can leave claims out of it, "
    "such as the list of groups."
)
_NO_ISSUER = "The broker names no such issuer (any more)."
_TLS = "The console cannot ask the issuer. Whoever runs the console finds the reason in its log."


async def leave(visit: Visit) -> Response:
    """Sends to the issuer that was chosen, and has the browser keep what the answer is held against."""
    if (elsewhere := _main_address(visit)) is not None:
        return elsewhere
    back = local_path(visit.query.get("next", "/"))
    try:
        offer = await _offer(visit, visit.query.get("issuer", ""))
        if offer is None:
            return await page(visit, back, status=404, problem=_NO_ISSUER)
        address, ties = await visit.console.log_ins.begin(offer)
    except ValetKeyError as error:
        return await page(visit, back, status=502, problem=_told(visit, error))
    response = RedirectResponse(address, status_code=303)
    pending = [name for name in visit.request.cookies if name.startswith("__Host-valetkey-login-")]
    for name in pending if len(pending) >= _MOST_PENDING else ():
        response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")
    content = {
        "state": ties.state,
        "nonce": ties.nonce,
        "verifier": ties.verifier,
        "issuer": offer.issuer,
        "back": back,
        "until": int(time.time()) + _SECONDS,
    }
    _cookie(visit, ties.state).write(response, visit.request.cookies, content, _SECONDS)
    return response


async def come_back(visit: Visit) -> Response:
    """Takes the issuer's answer, once, in the browser that was sent there."""
    pairs = visit.request.query_params.multi_items()
    answer = dict(pairs)
    state = answer.get("state", "")
    cookie = _cookie(visit, state)
    begun = cookie.read(visit.request.cookies)
    if begun is None or len(answer) < len(pairs) or not _same(begun["state"], state) or begun["until"] < time.time():
        return await page(visit, "/", status=400, problem=_NOT_OURS)
    back = begun["back"]
    cookies = visit.request.cookies
    ties = Ties(state=begun["state"], nonce=begun["nonce"], verifier=begun["verifier"])
    try:
        offer = await _offer(visit, begun["issuer"])
        if offer is None:
            return await page(visit, back, status=404, problem=_NO_ISSUER)
        if visit.path != visit.url(await visit.console.log_ins.callback(offer)):
            response = await page(visit, back, status=400, problem=_ANOTHERS)
        else:
            response = await begin(visit, await visit.console.log_ins.finish(offer, ties, answer), back)
    except TooLargeError:
        response = await page(visit, back, status=400, problem=_TOO_LARGE)
    except UnauthenticatedError as error:
        response = await page(visit, back, status=401, problem=error.message)
    except ValetKeyError as error:
        response = await page(visit, back, status=502, problem=_told(visit, error))
    cookie.clear(response, cookies)
    return response


def _main_address(visit: Visit) -> Response | None:
    """Sends from another name of ours, such as localhost, to the one that the issuer sends back to."""
    settings, request = visit.console.settings, visit.request
    if settings.outer_url or request.headers.get("host", "").lower() == urlsplit(settings.address).netloc:
        return None
    return RedirectResponse(f"{settings.address}login/at?{request.url.query}", status_code=303)


async def _offer(visit: Visit, issuer: str) -> LoginOffer | None:
    return next((each for each in await visit.console.log_ins.offers() if each.issuer == issuer), None)


def _cookie(visit: Visit, state: str) -> SealedCookie:
    """Returns the cookie of one log-in, so that tabs do not take each other's away."""
    return SealedCookie(visit.console.seal, f"login-{sha256(state.encode()).hexdigest()[:12]}")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _told(visit: Visit, error: ValetKeyError) -> str:
    if isinstance(error, SettingsError):
        # It is about files of the console, and nothing that the person at the browser could mend.
        log.error("visit %s: %s", visit.id, error)
        return _TLS
    return error.message
