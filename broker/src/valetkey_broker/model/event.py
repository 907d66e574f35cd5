"""What the ledger keeps of a decision. Nothing in it is secret."""

from dataclasses import dataclass
from enum import Enum

from valetkey_broker.model.statically_frozen import statically_frozen


class EventKind(Enum):
    """What happened; the value is what the ledger stores."""

    TOKEN_ISSUED = "token-issued"  # noqa: S105 (what the ledger calls it)
    DENIED = "denied"
    AUTHENTICATION_FAILED = "authentication-failed"
    ADMIN_CHANGE = "admin-change"
    PRUNED = "pruned"
    CHANGE_BEGUN = "change-begun"
    CHANGE_FAILED = "change-failed"


@statically_frozen
class Event:
    """One decision, as it is handed to the ledger. Times are Unix seconds; empty strings stand for "not known".

    `signature_sha256` is the hash, in hex, of a SAS's signature as it stands in the token after URL decoding.
    `count` is how many alike this one stands for.
    """

    kind: EventKind
    time: float
    request_id: str = ""
    method: str = ""
    principal: str = ""
    authentication: str = ""
    peer: str = ""
    object: str = ""
    connector: str = ""
    connector_uid: str = ""
    credential_version: int = 0
    resource: str = ""
    permissions: str = ""
    ttl: int = 0
    expires: int = 0
    lease_id: str = ""
    signature_sha256: str = ""
    grant: str = ""
    reason: str = ""
    purpose: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its place in the ledger and in its writer's chain; `hash` and `previous_hash` are hex."""

    id: int
    writer: str
    sequence: int
    previous_hash: str
    hash: str
    event: Event


@dataclass(frozen=True, slots=True)
class Head:
    """The last record of one writer's chain."""

    writer: str
    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What checking the chains found. `broken_id` is 0 where all holds."""

    intact: bool
    records: int
    problem: str
    broken_id: int
    heads: tuple[Head, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are wanted; None and empty strings stand for "any". Times are Unix seconds.

    `unfinished` leaves only CHANGE_BEGUN without an outcome: the next record of the same writer, call and object is
    none, or another CHANGE_BEGUN.
    """

    after_id: int = 0
    newest: bool = False
    unfinished: bool = False
    kind: EventKind | None = None
    principal: str = ""
    connector: str = ""
    request_id: str = ""
    lease_id: str = ""
    since: float | None = None
    until: float | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseFilter:
    """Which leases are wanted; empty strings stand for "any". `before_id` pages downwards from the newest.

    `container` is a container's name and `account` its account, either may be empty. With `active_at` (Unix seconds)
    only those that end later.
    """

    before_id: int | None = None
    active_at: float | None = None
    principal: str = ""
    connector: str = ""
    container: str = ""
    account: str = ""
    limit: int = 100
