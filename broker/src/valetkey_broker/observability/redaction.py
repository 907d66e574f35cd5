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
    r"secret(?!_id_file|_version)|password|passphrase|authorization|api_?key$|token$|signature|private",
    re.IGNORECASE,
)
# Shapes of secrets: SAS signatures, our API keys, bearer headers, JWTs, account keys; then Vault and OpenBao tokens.
_MARKED = re.compile(
    r"(?<=sig=)[^&\s\"']+"
    r"|(?<=sig%3D)[^&\s\"']+"
    r"|vk_[A-Za-z0-9_-]{20,}"
    r"|(?<=[Bb]earer )\S+"
    r"|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    r"|(?<=AccountKey=)[^;\s]+"
)
_VAULT_TOKEN = re.compile(r"\b(?:hv)?[sbr]\.[A-Za-z0-9_-]{20,}")
# Its end alone, which is found in a third of the time; host names such as blob.core… come this far.
_END_OF_VAULT_TOKEN = re.compile(r"[sbr]\.[A-Za-z0-9_-]{20}")


def scrub(text: str) -> str:
    """Returns `text` with everything that looks like a secret replaced by stars.

    Looks for the fixed part of each shape first: nearly all strings have none, and every field of every line comes
    through here.
    """
    if "sig" in text or "vk_" in text or "earer " in text or "eyJ" in text or "AccountKey=" in text:
        text = _MARKED.sub(_STARS, text)
    if ("s." in text or "b." in text or "r." in text) and _END_OF_VAULT_TOKEN.search(text):
        text = _VAULT_TOKEN.sub(_STARS, text)
    return text


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
