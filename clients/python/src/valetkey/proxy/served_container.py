"""The one container that a proxy serves, and the storage URL for each URL that a tool asks for."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote_plus, unquote_to_bytes, urlsplit

from valetkey.proxy.refusals import Refusal
from valetkey.sas_parameters import SAS_PARAMETERS

# A request target, or a URL's path: visible ASCII. What else there may be in one, tools escape.
_VISIBLE = re.compile(r'[!"$-~]*')
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_URL = re.compile(r"(?P<scheme>https?)://(?P<host>[^/?#@\\]+)(?P<path>/[^?#]*)(?:\?(?P<query>[^#]*))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Query:
    """A query in its parts, as they were sent; what belongs to a SAS stands apart."""

    kept: tuple[str, ...]
    signatures: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Query":
        """Names count in any case and escaped, as storage takes them."""
        kept, signatures = [], []
        for part in filter(None, text.split("&")):
            name, _, value = part.partition("=")
            plain = unquote_plus(name).strip().lower()
            if plain == "sig":
                signatures.append(unquote_plus(value))
            elif plain not in SAS_PARAMETERS:
                kept.append(part)
        return cls(tuple(kept), tuple(signatures))

    def value(self, name: str) -> str:
        """Returns the value of a parameter in lower case, empty where there is none."""
        for part in self.kept:
            found, _, value = part.partition("=")
            if unquote_plus(found).strip().lower() == name:
                return unquote_plus(value).lower()
        return ""

    def signed(self, sas: str) -> str:
        """Returns the query with a SAS, and with nothing left of another."""
        return "&".join((*self.kept, sas))


@dataclass(frozen=True, slots=True)
class ServedContainer:
    """One container: `origin` and `base` are storage's, `https://HOST` and what stands before the container's name.

    `path` is what the token is for inside of it, empty for all of it; the token itself holds tools to that. They reach
    the container at `/ACCOUNT/CONTAINER`, as they know it of emulators.
    """

    account: str
    container: str
    origin: str
    base: str
    path: str = ""

    @classmethod
    def of(cls, url: str) -> "ServedContainer":
        """Returns the place of a container's, directory's or blob's URL at storage."""
        parts = urlsplit(url)
        words = parts.path.lstrip("/").split("/")
        host = parts.hostname or ""
        origin = f"{parts.scheme}://{parts.netloc.lower()}"
        if "." in host and not _is_address(host):
            return cls(host.partition(".")[0], words[0], origin, "", "/".join(words[1:]))
        return cls(words[0], words[1], origin, f"/{words[0]}", "/".join(words[2:]))

    def rest_of(self, path: str) -> str:
        """Returns what follows `/ACCOUNT/CONTAINER` in the path of a tool's URL, byte by byte.

        Raises Refusal for another account or container, and for a path that could lead there.
        """
        return self._rest(path, f"/{self.account}")

    def url(self, rest: str, query: Query, sas: str) -> str:
        """Returns the URL at storage."""
        return f"{self.origin}{self.base}/{self.container}{rest}?{query.signed(sas)}"

    def signed_source(self, value: str, local: frozenset[str], sas: str) -> str:
        """Returns the URL that storage shall copy from, signed; `local` are the HOST:PORTs that this proxy has.

        Raises Refusal for a source in another place: neither a token nor a stranger's data goes through here.
        """
        match = _URL.fullmatch(value) if _VISIBLE.fullmatch(value) else None
        if match is None:
            raise Refusal(400, "InvalidHeaderValue", "The source of the copy is not a URL.")
        host = match["host"].lower()
        if match["scheme"].lower() == "http" and host in local:
            rest = self.rest_of(match["path"])
        elif f"{match['scheme'].lower()}://{host.removesuffix(':443')}" == self.origin.removesuffix(":443"):
            rest = self._rest(match["path"], self.base)
        else:
            raise Refusal(
                403,
                "CannotVerifyCopySource",
                f"This proxy is for {self.shown} only, and the source of the copy is at another host.",
            )
        return self.url(rest, Query.parse(match["query"] or ""), sas)

    def signed_rename(self, value: str, sas: str) -> str:
        """Returns the `/CONTAINER/PATH` that storage shall rename, signed. Raises Refusal for another container."""
        path, _, query = value.partition("?")
        if not _VISIBLE.fullmatch(value):
            raise Refusal(400, "InvalidHeaderValue", "The source of the renaming is not a path.")
        rest = self._rest(path, "")
        return f"/{self.container}{rest}?{Query.parse(query).signed(sas)}"

    @property
    def shown(self) -> str:
        """ServedContainer in words."""
        return f"container {self.container} of account {self.account}"

    def _rest(self, path: str, base: str) -> str:
        if not _VISIBLE.fullmatch(path) or _BAD_ESCAPE.search(path):
            raise Refusal(400, "InvalidUri", "The path holds what no URL has; expected it escaped.")
        # Whatever storage, or something before it, makes of dots and backslashes: they lead nowhere from here.
        segments = re.split(rb"[/\\]", unquote_to_bytes(path))
        if b"." in segments or b".." in segments:
            raise Refusal(400, "InvalidUri", "The path holds . or .. as a segment, escaped or not; expected none.")
        expected = [*base.lstrip("/").split("/"), self.container] if base else [self.container]
        words = path[1:].split("/", len(expected))
        found = [unquote_to_bytes(word).decode(errors="replace") for word in words[: len(expected)]]
        if not path.startswith("/") or found != expected:
            raise Refusal(
                403,
                "AuthorizationResourceMismatch",
                f"This proxy is for {self.shown} only; expected paths below {base}/{self.container}.",
            )
        return f"/{words[-1]}" if len(words) > len(expected) else ""


def visible(text: str) -> bool:
    """Tells whether a request target has nothing in it that would have to be escaped."""
    return bool(_VISIBLE.fullmatch(text))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
