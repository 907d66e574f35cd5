"""Revocations as the client shows them. Times are aware datetimes in UTC."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationTarget:
    """What is revoked: tokens that fit all that is given. A lease stands for its principal, connector and resource."""

    lease_id: str = ""
    principal: str = ""
    grant: str = ""
    connector: str = ""
    resource: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedSigner:
    """The living tokens that keys of one account signed, as far as the broker's ledger knows them.

    `kind` is `user-delegation-key` or `account-key`, or unspecified where the connector is gone. `others` are tokens
    that are not covered and would end with the keys; where they are `others_incomplete`, at least so many. `obstacle`
    says why `hard` cannot end these; empty where it can. A key of the account's own ends with a rotation of what it
    `rotates`, such as `connectors/by-key`, by the rights of the connector `by`.
    """

    account: str
    kind: str
    connectors: tuple[str, ...]
    covered: int
    covered_until: datetime | None
    others: int
    other_principals: tuple[str, ...]
    others_until: datetime | None
    obstacle: str
    rotates: tuple[str, ...] = ()
    by: str = ""
    others_incomplete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationPreview:
    """What a revocation would do. `in_force` are the ids of those that cover the same already.

    Where it is `incomplete`, more tokens live than were looked at.
    """

    target: RevocationTarget
    signers: tuple[RevokedSigner, ...]
    covered: int
    covered_until: datetime | None
    in_force: tuple[str, ...]
    incomplete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRevocation:
    """The user delegation keys of one account, or one of its own: `state` is pending, revoking, revoked or given-up.

    `error` says why the last try failed; another one follows. A key of the account's own, of which `kind` is
    `account-key`, ends with a rotation of what it `rotates`; `rotation_state` is that rotation's, once there is one.
    It hit so many tokens that are `covered` and so many `others`, at least where they are `hits_incomplete`.
    """

    account: str
    connector: str
    state: str
    revoke_time: datetime | None
    proof_time: datetime | None
    covered: int
    others: int
    error: str
    kind: str = ""
    rotates: str = ""
    rotation_state: str = ""
    hits_incomplete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A revocation: `state` is waiting, revoking, revoked or lifted.

    `covered` tokens lived when it was made, the last of them until `covered_until`.
    """

    name: str
    target: RevocationTarget
    reason: str
    hard: bool
    state: str
    create_time: datetime
    created_by: str
    covered: int
    covered_until: datetime | None
    keys: tuple[KeyRevocation, ...]
    lift_time: datetime | None
    lifted_by: str
