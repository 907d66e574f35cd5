"""The versions of a credential that are kept: the one in use, and the one before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from valetkey_broker.model import Connector, NamedSecret


@dataclass(frozen=True, slots=True)
class CredentialVersion:
    """One version of a credential that is kept. `since` and `given_by` are None and empty where nobody noted them.

    `taken_from` is the version that a rollback took it from, 0 for none.
    """

    version: int
    in_use: bool
    auth_method: str
    since: datetime | None
    given_by: str
    rotation: str
    expires_at: datetime | None = None
    taken_from: int = 0


def versions_of(there: Connector | NamedSecret) -> Sequence[CredentialVersion]:
    """Returns the versions of its credential, newest first."""
    if isinstance(there, Connector):
        first = there.origin is None and not there.previous_credential_version
        since = there.origin.since if there.origin else (there.created_at if first else None)
        by = there.origin.given_by if there.origin else (there.created_by if first else "")
        rotation, expires_at = there.origin.rotation if there.origin else "", there.expires_at
        taken_from = there.origin.taken_from if there.origin else 0
    else:
        since, by, rotation, expires_at = there.updated_at, there.updated_by, there.rotation, there.expires_at
        taken_from = there.taken_from
    method, version = there.auth_method, there.credential_version
    versions = [CredentialVersion(version, True, method, since, by, rotation, expires_at, taken_from)]
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
                origin.taken_from if origin else 0,
            )
        )
    return versions
