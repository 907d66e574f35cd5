"""Keeps secrets out of log lines, whatever a line's author forgot."""

import re
import sys
import traceback
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

from valetkey_broker.model import Secret

_STARS = "***"
_SECRET_NAMES = re.compile(
    r"secret(?!_id_file|_version)|passw|passphrase|authorization|(?:api|account|access)_?key$|token$|signature|private"
    r"|client_?certificate|connection_?string|^sas$|^sig$",
    re.IGNORECASE,
)
# What the names below take in front of a value, as it is, in quotes, or in the percent-encoding of a URL within a URL.
_IS = r"""(?:["']?\s*=\s*["']?|%(?:25)*3[dD])"""
# name=value, in URLs, forms, connection strings and command lines. Groups are kept.
_ASSIGNED = re.compile(
    r"(sig" + _IS + r")[^&\s\"']+"
    r"|((?:account|shared[_-]?access|access)[_-]?key" + _IS + r")(?!…)[^;&\s\"']+"
    r"|((?:client[_-]?(?:secret|assertion)|secret[_-]?id|(?:access|refresh|id)[_-]?token|api[_-]?key"
    r"|pass(?:word|wd|phrase)|pwd)" + _IS + r")[^;&\s\"']+",
    re.IGNORECASE,
)
_NAMES = "sig key secret token assertion secret_id secret-id secretid password passwd passphrase pwd"
# How the names end, with what has to follow: found in a fraction of the time.
_ENDS_OF_NAMES = [name + sign for name in _NAMES.split() for sign in "=%"]
# The same as JSON and Python print it. Without quotes this is how our own errors begin: "client_secret: is empty".
_IN_QUOTES = re.compile(
    r"""(["'](?:client_?(?:secret|assertion)|secret_id|(?:access|refresh|id)_token|api_?key|password|(?:account|access)_?key)"""
    r"""["']\s*:\s*["'])[^"']+""",
    re.IGNORECASE,
)
# A storage account's key is 64 bytes in base64.
_ACCOUNT_KEY = re.compile(r"(?<![A-Za-z0-9+/])(?:[A-Za-z0-9+/]|%2[BbFf]){86}(?:==|%3[Dd]%3[Dd])")
# What Entra makes: 40 characters, of which the fourth to the sixth are always like this.
_CLIENT_SECRET = re.compile(r"(?<![A-Za-z0-9_.~-])[A-Za-z0-9_.~-]{3}\dQ~[A-Za-z0-9_.~-]{31,34}")
# ://user:password@host. A port, which also follows a colon, ends at a slash or the end; an IPv6 address has brackets.
_URL_PASSWORD = re.compile(r"(://[^\s:/@?#\"'<>\[]*:)(?!\d{1,5}(?:[/?#]|\Z)|PASSWORD@)[^\s@\"'<>]{1,256}+(?=@)")
# The word alone is prose: "a bearer token". What follows it as a secret has a digit, or is long.
_HEADER = re.compile(
    r"(authorization\W{1,6}(?:bearer|basic)\s+|bearer\s+(?=\S*\d|\S{20})(?=\S{8}))[^\s\"']+", re.IGNORECASE
)
_API_KEY = re.compile(r"vk_[A-Za-z0-9_-]{20,}")
# Each run of its characters is looked through once, from its start: a run full of eyJ would take time by its square.
_JWT = re.compile(r"(?<![A-Za-z0-9_-])(?>([A-Za-z0-9_-]*?)(?=eyJ))[A-Za-z0-9_-]{13,}+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_VAULT_TOKEN = re.compile(r"\b(?:hv)?[sbr]\.[A-Za-z0-9_-]{20,}")
# Its end alone: what begins with a character that hardly anything has is found in a tenth of the time.
_END_OF_VAULT_TOKEN = re.compile(r"\.[A-Za-z0-9_-]{20}")


def scrub(text: str) -> str:
    """Returns `text` with everything that looks like a secret replaced by stars.

    Looks for a fixed part of each shape first: nearly all strings have none, and every field of every line comes
    through here.
    """
    if "=" in text or "%" in text:
        text = _scrub_assigned(text)
    if "vk_" in text or "eyJ" in text:
        text = _API_KEY.sub(_STARS, _JWT.sub(_after_name, text))
    if "://" in text and "@" in text:
        text = _URL_PASSWORD.sub(_after_name, text)
    if "Q~" in text:
        text = _CLIENT_SECRET.sub(_STARS, text)
    if " " in text and ("earer" in text or "BEARER" in text or "uthorization" in text or "UTHORIZATION" in text):
        text = _HEADER.sub(_after_name, text)
    if '":' in text or "':" in text:
        text = _IN_QUOTES.sub(_after_name, text)
    if "PRIVATE KEY-----" in text:
        text = _PRIVATE_KEY.sub(_STARS, text)
    if _END_OF_VAULT_TOKEN.search(text):
        text = _VAULT_TOKEN.sub(_STARS, text)
    return text


def _scrub_assigned(text: str) -> str:
    bare = text.lower().replace(" ", "").replace('"', "").replace("'", "")
    if any(end in bare for end in _ENDS_OF_NAMES):
        text = _ASSIGNED.sub(_after_name, text)
    return _ACCOUNT_KEY.sub(_STARS, text) if "==" in bare or "%3d%3d" in bare else text


def _after_name(found: re.Match[str]) -> str:
    return f"{found[found.lastindex or 0]}{_STARS}"


def scrub_named(name: str, value: str) -> str:
    """Returns what may be shown of a field's value, by the name of the field and by the value's shape."""
    return _STARS if _names_secret(name) else scrub(value)


@lru_cache(maxsize=1024)  # the names of fields stand in the code, so there are few
def _names_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replaces secrets in a structlog event: by type, by the name of the field, and by shape.

    An exception shows its type and where it was raised, never its text; renderers would print locals on top of that.
    """
    error = _exception(event.pop("exc_info", None))
    if error is not None:
        event["frames"] = frames(error)
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = scrub_named(name, value)
        elif isinstance(value, int | float | bool) or value is None:
            continue
        else:
            event[name] = _redacted(name, value)
    return event


def _redacted(name: str, value: Any) -> Any:
    if isinstance(value, Secret | bytes | bytearray | memoryview) or _names_secret(name):
        return _STARS
    if hasattr(value, "DESCRIPTOR"):  # A message of the API; Python's protobuf prints debug_redact fields as well.
        return f"<{type(value).__name__}>"
    if isinstance(value, BaseException):
        return type(value).__qualname__
    if isinstance(value, dict):
        return {str(key): _redacted(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", item) for item in value]
    return value if isinstance(value, int | float | bool) or value is None else scrub(str(value))


def _exception(exc_info: Any) -> BaseException | None:
    # The three ways of saying it: an exception, what sys.exc_info returns, or true.
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    elif exc_info and not isinstance(exc_info, BaseException):
        exc_info = sys.exc_info()[1]
    return exc_info if isinstance(exc_info, BaseException) else None


def frames(error: BaseException, limit: int = 12, most: int = 4) -> list[str]:
    """Returns where `error` and its causes were raised, type and place only: an exception's text may hold anything.

    The innermost `limit` places of each, and `most` of them: a deep call does not push the cause out.
    """
    lines: list[str] = []
    current: BaseException | None = error
    while current is not None and most > 0:
        most -= 1
        lines.append(f"{type(current).__module__}.{type(current).__qualname__}")
        lines += [
            f"{frame.filename.rpartition('/site-packages/')[2]}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(current.__traceback__, limit=-limit)
        ]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return lines
