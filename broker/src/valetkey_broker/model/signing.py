"""What signs tokens: a key of any kind, what it is asked to sign, and what comes of that."""

from dataclasses import dataclass, field
from typing import Any

from valetkey_broker.model.cloud_profile import CloudProfile
from valetkey_broker.model.permission import PermissionSet
from valetkey_broker.model.scope import Scope
from valetkey_broker.model.statically_frozen import statically_frozen


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
    """All that shapes a SAS but its lease id; every field has been validated. Times are whole Unix seconds."""

    profile: CloudProfile
    scope: Scope
    permissions: PermissionSet
    starts: int
    expires: int
    source_ip: str
    key: SigningKey


@statically_frozen
class SignedToken:
    """A SAS, and the SHA-256 (hex) of its signature as it stands there after URL decoding."""

    sas_token: str = field(repr=False)
    signature_sha256: str
