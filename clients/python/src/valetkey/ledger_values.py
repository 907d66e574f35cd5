"""What the client gives back of the ledger: plain, immutable values. Times are aware datetimes in UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from valetkey.sas import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One issued token as the ledger knows it.

    `state` is live, waiting (a revocation covers it, and it lives to its end), revoking, revoked or ended, empty where
    the broker does not say; `revocation` is the id of the one that covers it or ended it.
    """

    id: str
    principal: str
    connector: str
    credential_version: int
    resource: str
    permissions: tuple[str, ...]
    issue_time: datetime
    expire_time: datetime
    grant: str
    purpose: str
    state: str = ""
    revocation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One record of the ledger. Hashes are in hex; empty strings, 0 and None stand for "does not apply".

    `id` is its position in the ledger, `sequence` that in the chain of its `writer`. `count` is how many alike it
    stands for. `details` is what only some kinds of record have to tell, by name.
    """

    id: int
    writer: str
    sequence: int
    time: datetime
    kind: str
    method: str
    request_id: str
    principal: str
    authentication: str
    peer: str
    object: str
    connector: str
    connector_uid: str
    credential_version: int
    resource: str
    permissions: tuple[str, ...]
    ttl: timedelta | None
    expire_time: datetime | None
    lease_id: str
    signature_sha256: str
    grant: str
    reason: str
    purpose: str
    count: int
    hash: str
    details: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def outcome_unknown(self) -> bool:
        """Whether nobody knew what became of a change as it was recorded; a change-reconciled may tell since."""
        return self.kind == "admin-change" and bool(self.reason)


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """The last record of one writer's chain; `hash` is in hex. Noted outside, it is an anchor."""

    writer: str
    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class LedgerVerification:
    """What checking the ledger's chains found. `broken_id` is the first broken record, 0 where all holds."""

    intact: bool
    records: int
    problem: str
    broken_id: int
    heads: tuple[LedgerHead, ...]


@dataclass(frozen=True, slots=True)
class TokenDiagnosis:
    """What the broker knows of a token: its record, if the caller may see it, and what may explain a refusal.

    `storage_known` tells whether the URL's host is one of the broker's clouds.
    """

    lease: Lease | None
    findings: tuple[Finding, ...]
    storage_known: bool
