"""SPIFFE ids, by the letter of https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md, section 2."""

import re
from dataclasses import dataclass

from valetkey_broker.model.errors import InvalidFieldError, shown

_MAX_CHARACTERS = 2048
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_ID = re.compile(r"spiffe://([a-z0-9._-]{1,255})((?:/[A-Za-z0-9._-]+)+)")
_DOTS = frozenset({".", ".."})


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """The id of a workload: always with a path, for the bare trust domain is its CA's."""

    trust_domain: str
    path: str

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}{self.path}"


def parse_spiffe_id(value: str, field: str = "spiffe_id") -> SpiffeId:
    """Returns the parsed id. Raises InvalidFieldError; nothing is decoded, lower-cased or otherwise mended."""
    match = _ID.fullmatch(value) if len(value) <= _MAX_CHARACTERS else None
    if match is None or not _DOTS.isdisjoint(match[2].split("/")):
        raise InvalidFieldError(field, f"{shown(value)} is not a SPIFFE id", "spiffe://TRUST-DOMAIN/PATH")
    return SpiffeId(match[1], match[2])


def check_trust_domain(value: str) -> str:
    """Returns `value` if it can name a trust domain. Raises InvalidFieldError."""
    if not _TRUST_DOMAIN.fullmatch(value):
        raise InvalidFieldError(
            "trust_domain", f"{shown(value)} is not a trust domain", "a name such as example.org, without spiffe://"
        )
    return value
