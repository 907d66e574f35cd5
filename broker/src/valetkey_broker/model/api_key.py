"""API keys."""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from valetkey_broker.model.principal import Role
from valetkey_broker.model.secret import Secret

# vk_ and 32 random bytes in base64url without padding (RFC 4648, section 5).
_KEY = re.compile(r"vk_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class EarlierDigest:
    """The SHA-256 of a secret that a key had before, and when that ends."""

    digest: bytes
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as Vault keeps it: of its secret only the SHA-256.

    `earlier` are the secrets that it had before, the latest first; each ends by itself. `rotated_at` and `rotated_by`
    are those of the secret that it has now, None and empty where that is its first.
    """

    name: str
    uid: str
    digest: bytes
    roles: frozenset[Role]
    expires_at: datetime
    created_at: datetime
    created_by: str
    earlier: tuple[EarlierDigest, ...] = ()
    rotated_at: datetime | None = None
    rotated_by: str = ""

    @property
    def life(self) -> timedelta:
        """How long it was given last."""
        return self.expires_at - (self.rotated_at or self.created_at)

    def overlap_ends(self, now: datetime) -> datetime | None:
        """Returns when the last of the secrets before ends; None where none is good at `now`."""
        return max((each.ends_at for each in self.earlier if each.ends_at > now), default=None)


def new_api_key() -> Secret:
    """Returns a new key: `vk_` and 32 random bytes in base64url."""
    return Secret("vk_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode("ascii"))


def api_key_digest(presented: str) -> bytes | None:
    """Returns the SHA-256 of a presented key, or None where it does not have the form of one.

    A plain hash is enough, for the secret is 256 random bits, not a password.
    """
    if not _KEY.fullmatch(presented):
        return None
    return hashlib.sha256(presented.encode("ascii")).digest()
