"""What the ledger keeps of a decision. Nothing in it is secret."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    CHANGE_RECONCILED = "change-reconciled"
    ROTATION = "rotation"
    """A step of a rotation."""
    KEYS_REVOKED = "keys-revoked"
    REVOCATION_PROVED = "revocation-proved"
    UNKNOWN = "unknown"
    """As which a kind is read that this broker does not know; none is recorded as this."""


MOST_DETAILS = 16
"""How many details an event may have."""
MOST_DETAIL_CHARACTERS = 500
"""How long the value of one may be."""
_DETAIL_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


KINDS_WITH_RESOURCE = (EventKind.TOKEN_ISSUED, EventKind.DENIED, EventKind.AUTHENTICATION_FAILED)
"""The kinds of record that name a resource."""


@statically_frozen
class Event:
    """One decision, as it is handed to the ledger. Times are Unix seconds; empty strings stand for "not known".

    `signature_sha256` is the hash, in hex, of a SAS's signature as it stands in the token after URL decoding.
    `count` is how many alike this one stands for. `details` is what only some kinds of event have to tell, by names
    such as `error`: what a kind that is added later needs goes there. Making one raises ValueError where they are
    beyond their bounds, which is a mistake of the code: `details_of` keeps to them.
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
    details: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.details:
            check_details(self.details)


def details_of(**values: str) -> dict[str, str]:
    """Returns the details of an event: those that have a value, each cut to `MOST_DETAIL_CHARACTERS`."""
    return {name: cut(value) for name, value in values.items() if value}


def cut(text: str, most: int = MOST_DETAIL_CHARACTERS) -> str:
    """Returns `text` no longer than `most` characters; what was cut ends in an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def check_details(details: Mapping[str, str]) -> None:
    """Raises ValueError where `details` are beyond the bounds of an event's."""
    if len(details) > MOST_DETAILS:
        raise ValueError(f"an event has {len(details)} details; expected at most {MOST_DETAILS}")
    for name, value in details.items():
        if not _DETAIL_NAME.fullmatch(name):
            raise ValueError(f"a detail is named {name!r}; expected lower-case letters, digits and _, at most 32")
        if len(value) > MOST_DETAIL_CHARACTERS:
            raise ValueError(
                f"the detail {name} has {len(value)} characters; expected {MOST_DETAIL_CHARACTERS} at most"
            )


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its place in the ledger and in its writer's chain; `hash` and `previous_hash` are hex.

    `form` is the version of the form in which it was written.
    """

    id: int
    writer: str
    sequence: int
    previous_hash: str
    hash: str
    event: Event
    form: int


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
    """Which events are wanted; None and empty strings stand for "any". Times are Unix seconds. `after_id` may be
    negative: no database gives such an id by itself, but somebody who writes to it can.

    `unfinished` leaves only CHANGE_BEGUN without a known outcome: the next record of the same writer, call and object,
    but ADMIN_CHANGE with a reason, is none, or another CHANGE_BEGUN; and no CHANGE_RECONCILED of any writer is the next
    of the same call and object. `cut_off` leaves of these only what has no ADMIN_CHANGE with a reason either.

    `container`, `account` and `path` are as in LeaseFilter. They leave only the records that name a resource: issued
    tokens, and what was refused. Who was refused named what they liked; where that was no account, it may be any.
    """

    after_id: int | None = None
    newest: bool = False
    unfinished: bool = False
    cut_off: bool = False
    kind: EventKind | None = None
    principal: str = ""
    connector: str = ""
    request_id: str = ""
    lease_id: str = ""
    container: str = ""
    account: str = ""
    path: str = ""
    since: float | None = None
    until: float | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseFilter:
    """Which leases are wanted; empty strings stand for "any". `before_id` pages downwards from the newest.

    `container` is a container's name and `account` its account, either may be empty; `path`, in that container, is one
    blob, or ends in a slash and stands for a directory and all that is below it. With `active_at` (Unix seconds) only
    those that end later, with `issued_before` those that were issued earlier; with `signature_sha256` (hex) and
    `expires`, which belong together, only that token. No index is on grants, nor for the time of issue: ask for such
    tokens among those that live.

    `one_of_each` leaves of the tokens that one credential signed for one account only the newest. Behind `before_id`
    there may be older ones of the same; none whose newest is there is missed.
    """

    before_id: int | None = None
    active_at: float | None = None
    issued_before: float | None = None
    one_of_each: bool = False
    signature_sha256: str = ""
    expires: int | None = None
    principal: str = ""
    connector: str = ""
    grant: str = ""
    container: str = ""
    account: str = ""
    path: str = ""
    limit: int = 100
