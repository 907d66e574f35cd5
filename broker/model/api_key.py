"""API keys and the principals they make."""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from broker.model.secret import Secret

# vk_ and 32 random bytes in base64url without padding (RFC 4648, section 5).
_KEY = re.compile(r"vk_[A-Za-z0-9_-]{43}")


class Role(Enum):
    """What a principal may call; authz/methods.py says which RPC needs which."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. `connectors` are the names a consumer may use."""

    name: str
    roles: frozenset[Role]
    connectors: frozenset[str]

    def has_any(self, roles: Iterable[Role]) -> bool:
        """Tells whether the principal holds one of `roles`."""
        return not self.roles.isdisjoint(roles)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as Vault keeps it: of its secret only the SHA-256."""

    name: str
    uid: str
    digest: bytes
    roles: frozenset[Role]
    connectors: frozenset[str]
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
