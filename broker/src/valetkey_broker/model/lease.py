"""A lease: one token that was issued, and what made it shorter than was asked for."""

import ipaddress
from dataclasses import field
from enum import Enum

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
