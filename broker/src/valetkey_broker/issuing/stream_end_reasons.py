"""Why streams of tokens end."""

from dataclasses import dataclass
from enum import Enum


class EndReason(Enum):
    """Why a stream ends; the names are those of `valetkey.v1.WatchEndReason` without its prefix."""

    GRANT_GONE = "no grant allows it any more"
    CONNECTOR_GONE = "the connector was deleted"
    IDENTITY_REVOKED = "the caller's key was revoked, or who vouched for the caller is no longer believed"
    IDENTITY_EXPIRED = "the caller's identity expired; call again with a new one"
    SHUTDOWN = "the broker stops; call again"
    ISSUER_UNAVAILABLE = (
        "the keys of the caller's issuer could not be had before the last token ended; call again later"
    )
    UNAVAILABLE = "no fresh token could be had before the last one ended; call again later"
    ACCESS_REVOKED = "access was revoked"


@dataclass(frozen=True, slots=True)
class AccessRevoked:
    """The end of a stream that an operator revoked; `value` says whom to ask. Reads like an EndReason."""

    value: str
    name: str = EndReason.ACCESS_REVOKED.name


End = EndReason | AccessRevoked
