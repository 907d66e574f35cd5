"""What `valetkey login` and `valetkey logout` do, and what they say of it."""

import os
import sys
import threading
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer

from valetkey.cli.global_options import KEPT, GlobalOptions, client_with_login, place_of, settings_of
from valetkey.cli.screen import Screen
from valetkey.client import Client
from valetkey.errors import InvalidArgumentError, SettingsError, UnauthenticatedError, UnavailableError, ValetKeyError
from valetkey.identity_values import CallerIdentity
from valetkey.login.flows import by_browser, by_device
from valetkey.login.issuer import discover
from valetkey.login.issuer_http import IssuerHttp
from valetkey.login.issuer_tokens import Tokens
from valetkey.login.login_offer import LoginOffer
from valetkey.login.login_settings_call import caller_without_identity, login_offers
from valetkey.login.logout import Left, log_out, revoke
from valetkey.login.store import Login, locked, make_private_folder, read_login, write_login
from valetkey.settings import login_file_of
from valetkey.times import utc

_POSIX = os.name == "posix"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginWishes:
    """The options of `valetkey login`."""

    device: bool
    browser: bool
    issuer: str | None
    issuer_ca_file: str | None
    port: int


def log_in(context: typer.Context, screen: Screen, wishes: LoginWishes) -> None:
    """Logs in, keeps the log-in, and says as whom the broker takes the person."""
    _check_platform()
    given: GlobalOptions = context.obj
    timeout = given.timeout_seconds
    endpoint, ca_file = place_of(context)
    path = login_file_of(endpoint, os.environ)
    make_private_folder(path.parent)  # says now what cannot be used, and not once the person has logged in
    nobody = caller_without_identity(endpoint, ca_file, timeout)
    KEPT.append(nobody)
    offers = nobody.run(login_offers())
    offer = _choose(offers, endpoint, wishes.issuer, _pinned(path))
    # Whoever could answer in the broker's place the first time could name another service's scopes: they are shown.
    scopes = " ".join(offer.scopes)
    screen.note(f"{endpoint} has people log in at {offer.issuer}, as its client {offer.client_id}, for {scopes}")
    named = wishes.issuer_ca_file or os.environ.get("VALETKEY_ISSUER_CA_FILE")
    issuer_ca_file = Path(named).absolute() if named else None
    terminal = _Terminal(screen, opens=wishes.browser)
    tokens = _tokens(IssuerHttp(issuer_ca_file), offer, wishes, terminal, alone=len(offers) == 1)
    _keep(path, Login(endpoint, offer, issuer_ca_file, tokens))
    caller = _who(client_with_login(context, path), path, screen)
    _warn_of_others(context, screen)
    _show(screen, endpoint, offer, caller, tokens)


def log_out_of(context: typer.Context, screen: Screen) -> None:
    """Logs out, and says what the issuer made of it."""
    _check_platform()
    endpoint, _ = place_of(context)
    outcome, why = log_out(login_file_of(endpoint, os.environ))
    if outcome is Left.FAILED:
        screen.warn(f"the issuer could not be told ({why}): what renews the log-in is gone here, and lives on there")
    elif outcome is Left.NO_WAY:
        screen.note("the issuer has no way to revoke: what renewed the log-in is gone here, and ends there by itself")
    elif why:
        screen.warn(why)
    was, revoked = outcome is not Left.NOTHING, outcome is Left.REVOKED
    if screen.as_json:
        screen.json({"endpoint": endpoint, "logged_out": was, "revoked": revoked})
    else:
        screen.line(f"Logged out of {endpoint}." if was else f"You were not logged in at {endpoint}.")


def _keep(path: Path, login: Login) -> None:
    """Writes a log-in down; what cannot be kept, or is given up while another command has the lock, is revoked."""
    try:
        with locked(path):
            write_login(path, login)
    except (ValetKeyError, KeyboardInterrupt):
        revoke(login)
        raise


def _tokens(http: IssuerHttp, offer: LoginOffer, wishes: LoginWishes, terminal: "_Terminal", *, alone: bool) -> Tokens:
    issuer = discover(http, offer.issuer)
    if wishes.device or (wishes.browser and not _has_display() and issuer.device):
        return by_device(http, issuer, offer, terminal)
    return by_browser(http, issuer, offer, terminal, alone=alone, port=wishes.port)


class _Terminal:
    """Tells the person at the terminal where to log in."""

    def __init__(self, screen: Screen, *, opens: bool) -> None:
        self._screen = screen
        self._opens = opens and _has_display()

    def open_browser(self, url: str) -> None:
        """Opens the page, and prints its address in any case."""
        first = "if no browser opens, go" if self._opens else "go"
        self._screen.note(f"{first} to this page to log in, within 5 minutes: {url}")
        if self._opens:
            # Some browsers return only when they are closed.
            threading.Thread(target=_open, args=(url,), daemon=True).start()

    def show_code(self, url: str, code: str, seconds: float) -> None:
        """Says where to type in what."""
        self._screen.note(f"on any device, go to {url} and type in the code {code}, within {seconds / 60:.0f} minutes")


def _open(url: str) -> None:
    with suppress(webbrowser.Error, OSError):
        webbrowser.open(url)


def _has_display() -> bool:
    if os.environ.get("BROWSER") or sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _check_platform() -> None:
    if not _POSIX:
        raise SettingsError(
            "log-ins are kept only where a file can be made one user's own by its mode, which is not so here; "
            "expected another identity, such as a token file"
        )


def _pinned(path: Path) -> LoginOffer | None:
    """Returns what the broker named at the first log-in. Raises SettingsError where the file cannot be believed."""
    return read_login(path).offer if os.path.lexists(path) else None


def _choose(offers: tuple[LoginOffer, ...], endpoint: str, issuer: str | None, pinned: LoginOffer | None) -> LoginOffer:
    """Returns where to log in. Raises ValetKeyError where there is no such place, or it is not the one of before."""
    if not offers:
        raise ValetKeyError(
            f"the broker at {endpoint} offers no log-in; whoever runs it can say in its settings where people log in "
            "(authn.oidc.login), or give you another identity"
        )
    wanted = issuer or (pinned.issuer if pinned and any(each.issuer == pinned.issuer for each in offers) else None)
    found = [each for each in offers if wanted in (None, each.issuer)]
    if len(found) != 1:
        named = ", ".join(each.issuer for each in offers)
        why = f"--issuer: {issuer} is none of them" if issuer else "say which one with --issuer"
        raise InvalidArgumentError(f"the broker at {endpoint} has people log in at {named}; {why}")
    if pinned is not None and found[0] != pinned:
        raise SettingsError(
            f"the broker at {endpoint} names another place to log in than before ({pinned.differences(found[0])}); "
            "nothing was sent there. If whoever runs the broker says that this is meant: valetkey logout, then "
            "valetkey login"
        )
    return found[0]


def _who(client: Client, path: Path, screen: Screen) -> CallerIdentity | None:
    """Returns as whom the broker takes the person; removes a log-in that it does not take."""
    try:
        return client.who_am_i()
    except UnauthenticatedError as error:
        log_out(path)
        error.message = f"the issuer logged you in, and the broker does not take its token: {error.message}"
        raise
    except UnavailableError as error:
        screen.warn(f"you are logged in, and the broker could not be asked as whom: {error.message}")
        return None


def _warn_of_others(context: typer.Context, screen: Screen) -> None:
    identity = settings_of(context, screen).identity
    if identity.login_file is None:
        screen.warn(f"{identity} is set, too, and comes before the log-in: unset it to be who you are")


def _show(screen: Screen, endpoint: str, offer: LoginOffer, caller: CallerIdentity | None, tokens: Tokens) -> None:
    # The broker takes it for a little longer than the issuer says, and tells so as whoami does.
    until = utc((caller and caller.expire_time) or datetime.fromtimestamp(tokens.expires_at, UTC))
    renewed = bool(tokens.refresh)
    if screen.as_json:
        screen.json(
            {
                "endpoint": endpoint,
                "issuer": offer.issuer,
                "principal": caller.principal if caller else None,
                "roles": list(caller.roles) if caller else [],
                "expire_time": until,
                "renewed": renewed,
            }
        )
        return
    screen.line(f"Logged in at {endpoint}{f' as {caller.principal}' if caller else ''}.")
    if caller:
        screen.line(f"Roles: {', '.join(caller.roles) or 'none; what you may have, grants say'}.")
    then = "is renewed by itself" if renewed else "cannot be renewed: log in again then"
    screen.line(f"The token counts until {until} and {then}.")
