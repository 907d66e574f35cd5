"""API keys."""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from valetkey_broker.model.principal import Role
from valetkey_broker.model.secret import Secret

# vk_ and 32 random bytes in base64url without padding (RFC 4648, section 5).
_KEY = re.compile(r"vk_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as Vault keeps it: of its secret only the SHA-256."""

    name: str
    uid: str
    digest: bytes
    roles: frozenset[Role]
    expires_at: datetime
    created_at: datetime
    created_by: str


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
