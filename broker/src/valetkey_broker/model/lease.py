"""A request to sign, the key that signs it, and the lease that comes of it."""

import ipaddress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from valetkey_broker.model.cloud import CloudProfile
from valetkey_broker.model.errors import InvalidFieldError, shown
from valetkey_broker.model.permission import PermissionSet
from valetkey_broker.model.scope import Scope
from valetkey_broker.model.statically_frozen import statically_frozen


class TtlLimit(Enum):
    """What made a token shorter than was asked for; the value says it to people."""

    GRANT_MAX_TTL = "the grant allows no longer life"
    GRANT_END = "the grant ends then"
    IDENTITY_END = "the caller's identity ends then"
    KEY_END = "the key that signs it ends then"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What signs the tokens of one account, whatever kind of key it is. Times are Unix seconds.

    No token that it signs begins before `starts` or ends after `expires`, which is infinite for a key that holds until
    somebody replaces it. `material` is the cloud adapter's own.
    """

    account: str
    starts: float
    expires: float
    material: Any = field(repr=False)


@statically_frozen
class SasRequest:
    """All that shapes one SAS; every field has been validated. Times are whole Unix seconds."""

    profile: CloudProfile
    scope: Scope
    permissions: PermissionSet
    starts: int
    expires: int
    source_ip: str
    lease_id: str
    key: SigningKey


@statically_frozen
class SignedToken:
    """A SAS, and the SHA-256 (hex) of its signature as it stands there after URL decoding."""

    sas_token: str = field(repr=False)
    signature_sha256: str


@statically_frozen
class Lease:
    """One issued token. Times are Unix seconds."""

    id: str
    principal: str
    grant: str
    connector: str
    connector_uid: str
    credential_version: int
    scope: Scope
    permissions: PermissionSet
    starts: int
    expires: int
    sas_token: str = field(repr=False)
    ttl_limited_by: TtlLimit | None = None


def parse_source_ip(value: str, name: str = "source_ip") -> str:
    """Returns an IPv4 address or an ascending range `A-B` in canonical form, as a SAS `sip` takes it.

    Source: https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas#specify-an-ip-address-or-ip-range
    """
    expected = "an IPv4 address such as 203.0.113.7 or an ascending range such as 203.0.113.1-203.0.113.9"
    try:
        ends = [ipaddress.IPv4Address(part) for part in value.split("-")]
    except ValueError:
        raise InvalidFieldError(name, f"{shown(value)} is not an address", expected) from None
    if len(ends) > 2 or ends[0] > ends[-1]:  # noqa: PLR2004 (a range has two ends)
        raise InvalidFieldError(name, f"{shown(value)} is not a range", expected)
    return "-".join(str(end) for end in ends)
