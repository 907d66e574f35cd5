"""Sealed values in cookies: bound to this host and to TLS, out of reach of scripts, in pieces if they are long."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from valetkey_console.sessions.sealing import Seal

# Browsers keep 4,096 bytes of a cookie, its name and attributes among them.
_PIECE = 3_700
MOST_PIECES = 4
_PREFIX = "__Host-valetkey-"


class TooLargeError(Exception):
    """A value does not fit into the cookies that browsers keep."""


class SealedCookie:
    """One value that a browser keeps for us, under one name."""

    def __init__(self, seal: Seal, name: str) -> None:
        self._seal = seal
        self._name = name

    def read(self, cookies: Mapping[str, str]) -> dict[str, Any] | None:
        """Returns the value, None where there is none or it is not whole and ours."""
        count, separator, first = cookies.get(self._piece(0), "").partition("~")
        if not separator or count not in map(str, range(1, MOST_PIECES + 1)):
            return None
        pieces = [first, *(cookies.get(self._piece(number), "") for number in range(1, int(count)))]
        return self._seal.open(self._name, "".join(pieces)) if all(pieces) else None

    def write(
        self, response: Response, cookies: Mapping[str, str], content: dict[str, Any], seconds: int | None
    ) -> None:
        """Has the browser keep a value for so long, None until it is closed; `cookies` are those that it has.

        Raises TooLargeError.
        """
        sealed = self._seal.close(self._name, content)
        pieces = [sealed[at : at + _PIECE] for at in range(0, len(sealed), _PIECE)]
        if len(pieces) > MOST_PIECES:
            raise TooLargeError(f"{len(sealed)} bytes; expected at most {MOST_PIECES * _PIECE}")
        for number, piece in enumerate(pieces):
            text = f"{len(pieces)}~{piece}" if number == 0 else piece
            self._set(response, self._piece(number), text, seconds)
        self.clear(response, cookies, since=len(pieces))

    def clear(self, response: Response, cookies: Mapping[str, str], since: int = 0) -> None:
        """Has the browser forget the value, or its pieces from `since` on."""
        for number in range(since, MOST_PIECES):
            if self._piece(number) in cookies:
                self._set(response, self._piece(number), "", 0)

    def _piece(self, number: int) -> str:
        return f"{_PREFIX}{self._name}" + (f"-{number}" if number else "")

    @staticmethod
    def _set(response: Response, name: str, value: str, seconds: int | None) -> None:
        response.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")
