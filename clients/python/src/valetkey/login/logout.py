"""The end of a log-in that its person wants."""

from enum import StrEnum
from pathlib import Path

from valetkey.atomic_files import unfinished
from valetkey.errors import SettingsError, ValetKeyError
from valetkey.login.issuer import discover
from valetkey.login.issuer_http import IssuerHttp
from valetkey.login.store import Login, locked, read_login

_OK = 200


class Left(StrEnum):
    """What the issuer made of the end of a log-in."""

    NOTHING = "there was no log-in"
    REVOKED = "revoked"
    NO_WAY = "the issuer has no way to revoke it"
    FAILED = "the issuer could not be told"
    NOTHING_LEFT = "there was nothing to revoke"


def log_out(path: Path) -> tuple[Left, str]:
    """Revokes what the issuer gave, where it can be, and removes the file in any case; says what went wrong, if it did.

    Raises SettingsError where the file cannot be removed.
    """
    if not path.is_symlink() and not path.exists():
        return Left.NOTHING, ""
    with locked(path):
        try:
            outcome = revoke(read_login(path))
        except SettingsError as error:
            outcome = Left.NOTHING_LEFT, error.message
        try:
            path.unlink(missing_ok=True)  # of a symbolic link, the link itself
            for left in unfinished(path):
                left.unlink(missing_ok=True)
        except OSError as error:
            raise SettingsError(f"log-in: {path} cannot be removed: {error.strerror}") from None
    return outcome


def revoke(login: Login) -> tuple[Left, str]:
    """Has the issuer revoke what renews a log-in, where it can; says what went wrong, if it did."""
    refresh = login.tokens.refresh if login.tokens else ""
    if not refresh:
        return Left.NOTHING_LEFT, ""
    try:
        http = IssuerHttp(login.issuer_ca_file)
        issuer = discover(http, login.offer.issuer)
        if not issuer.revocation:
            return Left.NO_WAY, ""
        # RFC 7009. Of what is revoked already it says 200, too.
        form = {"token": refresh, "token_type_hint": "refresh_token", "client_id": login.offer.client_id}
        status = http.submit(issuer.revocation, form)
    except ValetKeyError as error:
        return Left.FAILED, error.message
    return (Left.REVOKED, "") if status == _OK else (Left.FAILED, f"it answered with status {status}")
