"""Where a client secret comes from: a file, standard input, the environment, a hidden prompt."""

import getpass
import os
import sys
from pathlib import Path

from valetkey.cli.screen import Screen
from valetkey.errors import SettingsError
from valetkey.secret_files import MAX_BYTES, clean_secret, read_secret_file

ENVIRONMENT = "VALETKEY_CLIENT_SECRET"
_WHAT = "client secret"


def read_client_secret(given: str | None, screen: Screen) -> str:
    """Returns the client secret that `--client-secret` stands for; it is never shown.

    Raises SettingsError where there is none, or where what there is cannot be one.
    """
    if given is None:
        return _from_environment_or_prompt(screen)
    if given == "-":
        return _from_stdin(screen)
    if given.startswith("@"):
        path = Path(given[1:])
        secret, cut = read_secret_file(path, _WHAT)
        return _told(secret, cut, str(path), screen)
    secret, _ = clean_secret(given.encode(), _WHAT, "the value given")
    screen.warn(
        "--client-secret on the command line: other users of this machine can see it in the process list; "
        f"@FILE, - (standard input), {ENVIRONMENT} or the prompt keep it out"
    )
    return secret


def _from_environment_or_prompt(screen: Screen) -> str:
    if value := os.environ.get(ENVIRONMENT):
        secret, cut = clean_secret(value.encode("utf-8", "surrogateescape"), _WHAT, ENVIRONMENT)
        return _told(secret, cut, ENVIRONMENT, screen)
    if sys.stdin.isatty():
        return _from_prompt()
    raise SettingsError(
        "no client secret; expected --client-secret @FILE, --client-secret - with the secret on standard input, "
        f"or {ENVIRONMENT} in the environment"
    )


def _from_stdin(screen: Screen) -> str:
    if sys.stdin.isatty():
        return _from_prompt()  # typed in, it would stay on the screen
    secret, cut = clean_secret(sys.stdin.buffer.read(MAX_BYTES + 1), _WHAT, "standard input")
    return _told(secret, cut, "standard input", screen)


def _from_prompt() -> str:
    try:
        typed = getpass.getpass("Client secret (not shown): ", stream=sys.stderr)
    except EOFError:
        raise SettingsError("no client secret; the prompt was left without one") from None
    return clean_secret(typed.encode("utf-8", "surrogateescape"), _WHAT, "what was typed")[0]


def _told(secret: str, cut: bool, source: str, screen: Screen) -> str:
    if cut:
        screen.note(f"{_WHAT}: the line break at the end of {source} was left out")
    return secret
