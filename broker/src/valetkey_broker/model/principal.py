"""Authenticated callers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

_NONE: Mapping[str, str] = MappingProxyType({})

KEY_UID = "key-uid"
"""The attribute of an API key's principal that says which key it is: another of the same name may come."""


_BY_KEY = "key:"


def principal_of_key(name: str) -> str:
    """Returns how who calls by the API key of that name is called."""
    return _BY_KEY + name


def key_of_principal(principal: str) -> str | None:
    """Returns the name of the API key that a principal calls by; None where it calls by something else."""
    return principal.removeprefix(_BY_KEY) if principal.startswith(_BY_KEY) else None


class Role(Enum):
    """What people and their tools may call; authz/methods.py says which RPC needs which."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    AUDITOR = "auditor"


class Evidence(Enum):
    """How a caller was authenticated; the value is what the ledger shows."""

    API_KEY = "api-key"
    OIDC = "oidc"
    MTLS = "mtls"


class Standing(Enum):
    """Whether a principal could authenticate again now; UNKNOWN where who vouches for it has been away for too long."""

    GOOD = "good"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller: `key:NAME`, `oidc:ISSUER#SUBJECT` or `spiffe://…`.

    `attributes` are what grants can match besides the name, such as a Kubernetes namespace. `expires` is when the
    evidence ends, in Unix seconds: a stream does not outlive it.
    """

    name: str
    roles: frozenset[Role]
    evidence: Evidence
    expires: float
    attributes: Mapping[str, str] = field(default_factory=lambda: _NONE, hash=False)

    def has_any(self, roles: Iterable[Role]) -> bool:
        """Tells whether the principal holds one of `roles`."""
        return not self.roles.isdisjoint(roles)
