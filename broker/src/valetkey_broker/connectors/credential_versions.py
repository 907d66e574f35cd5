"""The versions of a credential that are kept: the one in use, and the one before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from valetkey_broker.model import Connector, NamedSecret


@dataclass(frozen=True, slots=True)
class CredentialVersion:
    """One version of a credential that is kept. `since` and `given_by` are None and empty where nobody noted them."""

    version: int
    in_use: bool
    auth_method: str
    since: datetime | None
    given_by: str
    rotation: str
    expires_at: datetime | None = None


def versions_of(there: Connector | NamedSecret) -> Sequence[CredentialVersion]:
    """Returns the versions of its credential, newest first."""
    if isinstance(there, Connector):
        first = there.origin is None and not there.previous_credential_version
        since = there.origin.since if there.origin else (there.created_at if first else None)
        by = there.origin.given_by if there.origin else (there.created_by if first else "")
        rotation, expires_at = there.origin.rotation if there.origin else "", there.expires_at
    else:
        since, by, rotation, expires_at = there.updated_at, there.updated_by, there.rotation, there.expires_at
    versions = [CredentialVersion(there.credential_version, True, there.auth_method, since, by, rotation, expires_at)]
    previous = there.previous
    if there.previous_credential_version and previous is not None:
        origin = previous.origin
        versions.append(
            CredentialVersion(
                there.previous_credential_version,
                False,
                previous.auth_method,
                origin.since if origin else None,
                origin.given_by if origin else "",
                origin.rotation if origin else "",
                previous.expires_at,
            )
        )
    return versions
