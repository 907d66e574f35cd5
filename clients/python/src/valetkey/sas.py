"""Reads a SAS token, or a URL with one, without asking anybody. What is shown of it never holds the signature."""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

from valetkey.errors import InvalidArgumentError

_MAC_BYTES = 32
_LETTERS = {
    "read": "r",
    "add": "a",
    "create": "c",
    "write": "w",
    "delete": "d",
    "list": "l",
    "move": "m",
    "execute": "e",
}
_SCOPES = {"c": "container", "b": "blob", "d": "directory", "bs": "snapshot", "bv": "version of a blob"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that may explain a refusal; with `decides` it does alone. `cause` is a word for programs."""

    cause: str
    message: str
    mend: str = ""
    decides: bool = False


@dataclass(frozen=True, slots=True)
class Sas:
    """A token in its parts. `url` is what it was used with, without query, empty for a bare token.

    `fields` hold all parameters but the signature; `signature` does not show itself.
    """

    url: str
    fields: dict[str, str]
    doubled: tuple[str, ...]
    signature: str = field(repr=False)
    query: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Sas":
        """Raises InvalidArgumentError, which never repeats the text, for what is no SAS."""
        text = text.strip()
        url, mark, query = text.partition("?")
        if not mark:
            url, query = "", text
        if not query.isascii() or not query.isprintable() or " " in query:
            raise InvalidArgumentError("url: holds what no SAS URL has; expected one, in a file or on standard input")
        pairs = parse_qsl(query, keep_blank_values=True)
        names = [name for name, _ in pairs]
        found = dict(pairs)
        if "sig" not in found:
            raise InvalidArgumentError("url: has no signature (sig=…); expected a SAS URL, or a SAS token alone")
        doubled = tuple(sorted({name for name in names if names.count(name) > 1}))
        signature = found.pop("sig")
        return cls(url, found, doubled, signature, query)

    @property
    def signature_sha256(self) -> bytes:
        """Hash by which the ledger knows the token."""
        return hashlib.sha256(self.signature.encode()).digest()

    @property
    def scheme(self) -> str:
        """Scheme of the URL."""
        return urlsplit(self.url).scheme

    def time(self, name: str) -> datetime | None:
        """Returns the time in a field such as `se`; None where there is none, or no time."""
        try:
            found = datetime.fromisoformat(self.fields[name])
        except (KeyError, ValueError):
            return None
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)

    @property
    def scope(self) -> str:
        """What the token is for, in a word."""
        return _SCOPES.get(self.fields.get("sr", ""), self.fields.get("sr", "account"))

    def allows(self, operation: str) -> bool:
        """Tells whether the token has the permission for an operation such as `read`."""
        return _LETTERS[operation] in self.fields.get("sp", "")

    def altered(self, permissions: Iterable[str], expires: datetime) -> Finding | None:
        """Returns what to say where the token tells other than its record does; None where both agree."""
        recorded = {_LETTERS.get(word, "?") for word in permissions}
        if recorded == set(self.fields.get("sp", "")) and self.time("se") == expires:
            return None
        message = "the token says other than its record: it was altered, which breaks its signature"
        return Finding("altered", message, "Use the token as it was issued, or ask for a new one.", decides=True)

    def findings(self, now: datetime, operation: str | None) -> Sequence[Finding]:
        """Returns what the token itself says against its use now, the likeliest first."""
        return [*self._of_form(), *self._of_time(now), *self._of_use(operation)]

    def _of_form(self) -> Sequence[Finding]:
        found = []
        if "sig" in self.doubled:
            message = "the URL holds two SAS tokens: storage takes neither (azure-core adds a renewed one on a retry)"
            found.append(
                Finding("two-tokens", message, "Send one token: strip the query before you add a new one.", True)
            )
        elif self.doubled:
            message = f"the URL repeats {', '.join(self.doubled)}"
            found.append(Finding("repeated", message, "Use the token as it was issued.", True))
        if not self._is_mac():
            message = "the signature is damaged: it was cut, or its + was not escaped as %2B"
            found.append(Finding("signature-damaged", message, "Copy the token whole, and quote it in a shell.", True))
        return found

    def _is_mac(self) -> bool:
        try:
            return len(base64.b64decode(self.signature, validate=True)) == _MAC_BYTES
        except (binascii.Error, ValueError):
            return False

    def _of_time(self, now: datetime) -> Sequence[Finding]:
        found = []
        renew = "Ask for a new one: valetkey token issue …"
        start, end, key_start, key_end = (self.time(name) for name in ("st", "se", "skt", "ske"))
        if end is None and "si" not in self.fields:
            found.append(Finding("no-end", "the token says not when it ends", "Use the token as it was issued.", True))
        if end is not None and end <= now:
            found.append(Finding("expired", f"the token ended at {end:%Y-%m-%d %H:%M:%S} UTC", renew, True))
        if start is not None and start > now:
            message = f"the token is valid from {start:%Y-%m-%d %H:%M:%S} UTC on only"
            found.append(Finding("not-yet-valid", message, "Check this machine's clock, and the broker's.", True))
        if key_end is not None and key_end <= now:
            found.append(
                Finding("key-expired", f"the key that signed it ended at {key_end:%Y-%m-%d %H:%M:%S} UTC", renew, True)
            )
        if key_start is not None and key_start > now:
            found.append(
                Finding("key-not-yet-valid", "the key that signed it is not valid yet", "Check the clocks.", True)
            )
        return found

    def _of_use(self, operation: str | None) -> Sequence[Finding]:
        found = []
        if self.scheme == "http" and self.fields.get("spr", "https,http") == "https":
            found.append(Finding("protocol", "the token is for https, and the URL says http", "Use https://.", True))
        if operation == "list" and self.fields.get("sr") == "b":
            message = "the token is for one blob, and listing is of containers"
            found.append(Finding("scope", message, "Ask for a token for the container.", True))
        elif operation and not self.allows(operation):
            message = f"the token has the permissions {self.fields.get('sp', '')!r}, which do not hold {operation}"
            found.append(
                Finding("permission", message, "Ask for one with that permission; a grant must allow it.", True)
            )
        if address := self.fields.get("sip"):
            message = f"the token works from {address} only, as storage sees the address"
            found.append(Finding("address", message, "Ask for one for the address that you call from."))
        if "sduoid" in self.fields or "suoid" in self.fields:
            message = "the token is bound to a user: storage wants that user's own token beside it"
            found.append(Finding("user-bound", message, "Send both, or ask for a token of the broker's."))
        return found
