"""Log-ins on disk: one file for each broker, readable by its user alone, replaced as a whole, changed under a lock."""

import contextlib
import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from valetkey.atomic_files import write_whole
from valetkey.errors import SettingsError, UnavailableError, ValetKeyError
from valetkey.login.issuer_tokens import Tokens
from valetkey.login.login_offer import LoginOffer

_OTHERS = 0o077
_MOST_BYTES = 64 * 1024
_LOCK_SECONDS = 30.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Login:
    """A log-in at one broker: what the broker named then, and the tokens, None once they cannot be renewed any more.

    `ended` says why, for people. `tried_at` is when a renewal was last tried, in Unix seconds.
    """

    endpoint: str
    offer: LoginOffer
    issuer_ca_file: Path | None
    tokens: Tokens | None
    ended: str = ""
    tried_at: float = 0.0


def read_login(path: Path) -> Login:
    """Returns the log-in in a file.

    Raises SettingsError where it is missing, is not this user's own and private, or holds something else.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise SettingsError(f"log-in: there is none in {path}; run: valetkey login") from None
    except OSError as error:
        why = "is a symbolic link" if path.is_symlink() else f"cannot be read: {error.strerror}"
        raise SettingsError(f"log-in: {path} {why}; {_ANEW}") from None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
            raise SettingsError(f"log-in: {path} is not a file of yours alone (mode 0600); {_ANEW}")
        raw = file.read(_MOST_BYTES + 1)
    try:
        return _login_in(json.loads(raw))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ValetKeyError):
        raise SettingsError(f"log-in: {path} does not hold what valetkey login writes; {_ANEW}") from None


_ANEW = "it is not used; to log in anew: valetkey logout, then valetkey login"


def write_login(path: Path, login: Login) -> None:
    """Puts a log-in in place of the one before, all of it or nothing. Raises SettingsError where it cannot be done."""
    make_private_folder(path.parent)
    values = asdict(login)
    values["issuer_ca_file"] = str(login.issuer_ca_file) if login.issuer_ca_file else None
    try:
        write_whole(path, json.dumps(values).encode())
    except OSError as error:
        raise SettingsError(f"log-in: {path} cannot be written: {error.strerror}") from None


def make_private_folder(folder: Path) -> None:
    """Makes the folder of a broker, and the one of all log-ins, for this user alone.

    Raises SettingsError where one of them is something else, another user's, or open to others, or there is no home.
    """
    if not folder.is_absolute():
        raise SettingsError("log-in: this user has no home to keep it in; expected HOME, or XDG_STATE_HOME")
    for each in (folder.parent, folder):
        try:
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = each.lstat()
        except OSError as error:
            raise SettingsError(f"log-in: the folder {each} cannot be made: {error.strerror}") from None
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise SettingsError(
                f"log-in: {each} is not a folder of yours; expected one, to keep tokens in; move it away"
            )
        if found.st_mode & _OTHERS:
            raise SettingsError(
                f"log-in: other users can look into {each}, where tokens are kept; run: chmod 700 {each}"
            )


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Holds the lock of a broker's log-in; gives False where somebody else has it and `wait` is false.

    Raises UnavailableError where somebody else has it for too long, SettingsError where it cannot be made.
    """
    import fcntl  # noqa: PLC0415 (not there on Windows, where nothing is kept)

    make_private_folder(path.parent)
    try:
        handle = os.open(path.with_name("lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(f"log-in: the lock beside {path} cannot be used: {error.strerror}") from None
    with os.fdopen(handle):  # closing it gives the lock back
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not wait:
                    yield False
                    return
            if time.monotonic() > end:
                raise UnavailableError(
                    f"log-in: another process has held the lock beside {path} for {_LOCK_SECONDS:g} s; try again"
                )
            time.sleep(_POLL_SECONDS)
        yield True


def ended(login: Login, why: str) -> Login:
    """Returns a log-in that cannot be renewed any more; it keeps what the broker named."""
    tokens = replace(login.tokens, refresh="") if login.tokens else None
    return replace(login, tokens=tokens, ended=why)


def _login_in(values: Any) -> Login:
    offer, tokens, ca_file = values["offer"], values["tokens"], values["issuer_ca_file"]
    if tokens is not None:
        times = float(tokens["received_at"]), float(tokens["expires_at"])
        tokens = Tokens(_text(tokens["access"]), *times, _text(tokens["refresh"]))
    return Login(
        endpoint=_text(values["endpoint"]),
        offer=LoginOffer(
            _text(offer["issuer"]),
            _text(offer["client_id"]),
            tuple(map(_text, offer["scopes"])),
            _text(offer["audience"]),
            send_audience=offer["send_audience"] is True,
        ),
        issuer_ca_file=Path(_text(ca_file)) if ca_file else None,
        tokens=tokens,
        ended=_text(values["ended"]),
        tried_at=float(values["tried_at"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
