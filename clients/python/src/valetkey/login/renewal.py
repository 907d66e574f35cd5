"""The token of a log-in, renewed before it ends, by one command or thread at a time."""

import time
from dataclasses import replace
from pathlib import Path

from valetkey.errors import SettingsError, UnauthenticatedError, UnavailableError, ValetKeyError
from valetkey.login.issuer import RefusedByIssuerError, discover, refusal
from valetkey.login.issuer_http import IssuerHttp
from valetkey.login.issuer_tokens import Tokens, tokens_in
from valetkey.login.store import Login, ended, locked, read_login, write_login

# A token is renewed when less than a fifth of its life is left, and never more than five minutes early.
_LAST_SHARE, _MOST_EARLY = 0.2, 300.0
# While the issuer is away and the token still counts, it is asked no more often than this.
_PAUSE_SECONDS = 30.0
# How far clocks are set back in passing.
_SLACK = 60.0
# Refusals of RFC 6749 and OpenID Connect that do not tell that the log-in is over.
_FOR_NOW = ("temporarily_unavailable", "server_error", "slow_down")
_OK = 200


def current_token(path: Path) -> str:
    """Returns the access token of the log-in in a file, renewed where it is due.

    Raises UnauthenticatedError where the log-in has ended, UnavailableError where it cannot be renewed for now and the
    token is over, SettingsError where the file cannot be used.
    """
    login = read_login(path)
    now = time.time()
    good = usable(login, now)
    if good is not None and not _due(login, now):
        return good.access
    # While another command renews it, or nothing can be kept on a full disk, a token that still counts will do.
    try:
        with locked(path, wait=good is None) as mine:
            if not mine and good is not None:
                return good.access
            return _renewed(path)
    except SettingsError:
        if good is None:
            raise
        return good.access


def usable(login: Login, now: float) -> Tokens | None:
    """Returns the tokens of a log-in where they count now."""
    tokens = login.tokens
    # A clock that was set back, to before they came, tells nothing: the issuer is asked.
    return tokens if tokens is not None and tokens.received_at - _SLACK <= now < tokens.expires_at else None


def _renewed(path: Path) -> str:
    login = read_login(path)  # whoever held the lock may have renewed it
    now = time.time()
    good = usable(login, now)
    if good is not None and not _due(login, now):
        return good.access
    if login.tokens is None or not login.tokens.refresh:
        raise _over(login)
    # Whether anything can be kept shows now: many issuers take a refresh token once, and then need the next one.
    write_login(path, replace(login, tried_at=now))
    try:
        fresh = _refresh(login, login.tokens.refresh)
    except RefusedByIssuerError as error:
        login = ended(login, error.message)
        write_login(path, login)
        if good is not None:
            return good.access
        raise _over(login) from None
    except ValetKeyError as error:
        if good is not None:
            return good.access
        error.message = f"the log-in at {login.endpoint} cannot be renewed now: {error.message}"
        error.args = (error.message,)
        raise
    write_login(path, replace(login, tokens=fresh, ended="", tried_at=0.0))
    return fresh.access


def _refresh(login: Login, refresh: str) -> Tokens:
    http = IssuerHttp(login.issuer_ca_file)
    issuer = discover(http, login.offer.issuer)
    form = {"grant_type": "refresh_token", "refresh_token": refresh, **login.offer.request()}
    now = time.time()
    status, answer = http.post(issuer.token, form)
    if status != _OK:
        refused = refusal(answer, "to renew it", (refresh,))
        raise UnavailableError(refused.message) if refused.error in _FOR_NOW else refused
    return tokens_in(answer, login.offer, now, refresh=refresh)


def _due(login: Login, now: float) -> bool:
    tokens = login.tokens
    if tokens is None:
        return True
    early = min((tokens.expires_at - tokens.received_at) * _LAST_SHARE, _MOST_EARLY)
    if now < tokens.expires_at - early or not tokens.refresh:
        return now >= tokens.expires_at
    return not 0 <= now - login.tried_at < _PAUSE_SECONDS


def _over(login: Login) -> UnauthenticatedError:
    why = f" ({login.ended})" if login.ended else ""
    return UnauthenticatedError(
        f"the log-in at {login.endpoint} has expired{why}; log in again: {command(login.endpoint)}"
    )


def command(endpoint: str) -> str:
    """Returns the command that logs in at a broker."""
    return f"valetkey --endpoint {endpoint} login"
