"""Where the secrets of a connector come from: a file, standard input, the environment, a hidden prompt."""

import base64
import getpass
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from valetkey.cli.auth_methods import METHODS, AuthMethod, option
from valetkey.cli.screen import Screen
from valetkey.errors import InvalidArgumentError, SettingsError
from valetkey.secret_files import MAX_BYTES, clean_secret, clean_text, read_bytes

# The one secret that is a file by its nature: of several lines, or binary.
_CERTIFICATE = "client_certificate"


class PromptLeftError(SettingsError):
    """Somebody left the hidden prompt by Ctrl-D."""


def environment_name(field: str) -> str:
    """Returns the variable of the environment that may hold a secret field."""
    return f"VALETKEY_{field.upper()}"


def in_environment(fields: Iterable[str]) -> list[str]:
    """Returns those of the secret fields that the environment holds."""
    return [field for field in fields if os.environ.get(environment_name(field))]


def read_secret(field: str, given: str | None, screen: Screen) -> str:
    """Returns the secret that the option of `field` stands for; it is never shown.

    `given` is @FILE, - or, with a warning, the secret itself; None stands for the environment, or a hidden prompt.
    A certificate is returned as PEM, or as the base64 of a PFX. Raises SettingsError where there is none, or where what
    there is cannot be one.
    """
    if given is None:
        return _from_environment_or_prompt(field, screen)
    if given == "-":
        return _from_stdin(field, screen)
    if given.startswith("@"):
        path = Path(given[1:])
        return clean(field, read_bytes(path, _what(field)), f"file {path}", screen, str(path))
    check_no_file(given, option(field))
    secret = clean(field, given.encode(), "the value given", screen)
    screen.warn(
        f"{option(field)} on the command line: other users of this machine can see it in the process list; "
        f"@FILE, - (standard input), {environment_name(field)} or the prompt keep it out"
    )
    return secret


def check_no_file(given: str, what: str) -> None:
    """Raises InvalidArgumentError for the path of a file in place of what it holds: an @ was forgotten."""
    try:
        meant = Path(given).is_file()
    except (OSError, ValueError):  # What cannot be a path is none.
        return
    if meant:
        # Not shown: it may be a secret all the same.
        raise InvalidArgumentError(
            f"{what}: there is a file of that name; to read it, expected @FILE, with @ before it"
        )


def read_given(given: Mapping[str, str], screen: Screen) -> dict[str, str]:
    """Returns the secrets that options stand for, by field; see `read_secret`.

    Raises InvalidArgumentError where two of them are to come from one pipe.
    """
    piped = [option(field) for field, value in given.items() if value == "-"]
    if len(piped) > 1 and not sys.stdin.isatty():
        raise InvalidArgumentError(f"{' and '.join(piped)}: only one secret can come from standard input")
    return {field: read_secret(field, value, screen) for field, value in given.items()}


def read_missing(method: AuthMethod, known: Mapping[str, str], screen: Screen) -> dict[str, str]:
    """Returns the secrets of an auth method: those known, and the one it still needs, by the environment or asked.

    Raises SettingsError where it cannot be had.
    """
    secrets, needed = dict(known), METHODS[method].secrets
    if needed and not any(field in known for field in needed):
        field = next(iter(in_environment(needed)), needed[0])
        secrets[field] = read_secret(field, None, screen)
    password = f"{_CERTIFICATE}_password"
    if _CERTIFICATE in secrets and password not in secrets and in_environment([password]):
        secrets[password] = read_secret(password, None, screen)
    return secrets


def _from_environment_or_prompt(field: str, screen: Screen) -> str:
    name = environment_name(field)
    if value := os.environ.get(name):
        return clean(field, value.encode("utf-8", "surrogateescape"), name, screen, name)
    if sys.stdin.isatty() and field != _CERTIFICATE:
        return _from_prompt(field, screen)
    raise SettingsError(
        f"no {_what(field)}; expected {option(field)} @FILE, {option(field)} - with the secret on standard input, "
        f"or {name} in the environment"
    )


def _from_stdin(field: str, screen: Screen) -> str:
    if sys.stdin.isatty() and field != _CERTIFICATE:
        return _from_prompt(field, screen)  # typed in, it would stay on the screen
    return clean(field, read_stdin(MAX_BYTES), "standard input", screen, "standard input")


def read_stdin(limit: int) -> bytes:
    """Returns what stands on standard input, at most one byte over `limit` of it."""
    return sys.stdin.buffer.read(limit + 1)


def _from_prompt(field: str, screen: Screen) -> str:
    what = _what(field)
    try:
        typed = getpass.getpass(f"{what.capitalize()} (not shown): ", stream=sys.stderr)
    except EOFError:
        raise PromptLeftError(f"no {what}; the prompt was left without one") from None
    return clean(field, typed.encode("utf-8", "surrogateescape"), "what was typed", screen)


def clean(field: str, data: bytes, source: str, screen: Screen, place: str = "") -> str:
    """Returns the field in `data`, checked; if it comes from a `place`, a line break cut off its end is told.

    Raises SettingsError, without showing it, where it cannot be one.
    """
    what = _what(field)
    if field == _CERTIFICATE:
        return _certificate(data, what, source)
    secret, cut = clean_secret(data, what, source)
    if cut and place:
        screen.note(f"{what}: the line break at the end of {place} was left out")
    return secret


def _certificate(data: bytes, what: str, source: str) -> str:
    """Returns a certificate with its key as the API takes it; a PFX, which is binary, in base64."""
    if data[:1] == b"\x30" and not data.isascii():  # DER: a sequence
        if len(data) > MAX_BYTES:
            raise SettingsError(f"{what}: {source} holds over {MAX_BYTES} bytes; expected one certificate and its key")
        return base64.b64encode(data).decode()
    return clean_text(data, what, source)


def _what(field: str) -> str:
    return field.replace("_", " ")
