"""Pages of lists that are sorted by name: the token is the last name of the page before."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from valetkey_broker.model import InvalidFieldError, check_secret_name

T = TypeVar("T")

_DEFAULT = 100
_MOST = 1000


def page(items: Sequence[T], name: Callable[[T], str], size: int, token: str) -> tuple[Sequence[T], str]:
    """Returns one page and the token of the next, empty on the last. Raises InvalidFieldError."""
    if size < 0:
        raise InvalidFieldError("page_size", f"is {size}", f"1 to {_MOST}, or nothing for {_DEFAULT}")
    after = _decoded(token) if token else ""
    wanted = min(size or _DEFAULT, _MOST)
    rest = [item for item in items if name(item) > after]
    last = len(rest) <= wanted
    return rest[:wanted], "" if last else base64.urlsafe_b64encode(name(rest[wanted - 1]).encode()).decode()


def _decoded(token: str) -> str:
    try:
        # Which takes every name that anything has.
        return check_secret_name("page_token", base64.b64decode(token, altchars=b"-_", validate=True).decode("ascii"))
    except (binascii.Error, ValueError):
        raise InvalidFieldError(
            "page_token", "was not made by this broker", "next_page_token of the page before"
        ) from None
