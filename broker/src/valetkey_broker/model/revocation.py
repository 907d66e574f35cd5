"""What an operator took back: which tokens that covers, and how far it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from valetkey_broker.model.resource import ResourceId
from valetkey_broker.model.statically_frozen import statically_frozen

_LONGEST_KEY_SECONDS = 7 * 24 * 3600  # https://learn.microsoft.com/rest/api/storageservices/get-user-delegation-key


class SignerKind(Enum):
    """With what kind of key a token is signed."""

    USER_DELEGATION_KEY = "user-delegation-key"
    ACCOUNT_KEY = "account-key"
    UNKNOWN = "unknown"
    """The connector is gone, and nobody can tell."""


class KeyRevocationState(Enum):
    """How far the revocation of an account's keys is."""

    PENDING = "pending"
    REVOKING = "revoking"
    REVOKED = "revoked"
    GIVEN_UP = "given-up"


class RevocationState(Enum):
    """How far a revocation is."""

    WAITING = "waiting"
    REVOKING = "revoking"
    REVOKED = "revoked"
    LIFTED = "lifted"


class LeaseState(Enum):
    """Whether a token can be used, as far as the broker knows."""

    LIVE = "live"
    WAITING = "waiting"
    REVOKING = "revoking"
    REVOKED = "revoked"
    ENDED = "ended"


@statically_frozen
class TokenUseFacts:
    """Whose a token is, by what, and for what; `path` is empty for a container, `account` where nobody knows it yet."""

    principal: str
    grant: str
    connector: str
    account: str
    container: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationTarget:
    """What is revoked: tokens that fit all that is given. `lease_id` says of which lease the rest was taken."""

    lease_id: str = ""
    principal: str = ""
    grant: str = ""
    connector: str = ""
    resource: ResourceId | None = None

    def covers(self, token: TokenUseFacts) -> bool:
        """Tells whether a token is covered. With a resource it is where it opens any of it, be it more or less."""
        given = (
            (self.principal, token.principal),
            (self.grant, token.grant),
            (self.connector, token.connector),
        )
        return all(wanted in ("", there) for wanted, there in given) and self._opens(token)

    def _opens(self, token: TokenUseFacts) -> bool:
        resource = self.resource
        if resource is None:
            return True
        if resource.container != token.container or resource.account not in (None, token.account):
            return False
        path, other = resource.prefix, token.path
        # A blob, or what is called by a path without a slash at its end, counts with all that is below it: on the side
        # of refusing too much.
        return not path or not other or path == other or other.startswith(f"{path}/") or path.startswith(f"{other}/")

    def __str__(self) -> str:
        resource = self.resource
        at = f"{resource} of account {resource.account}" if resource is not None and resource.account else str(resource)
        words = (
            ("lease", self.lease_id),
            ("principal", self.principal),
            ("grant", self.grant),
            ("connector", self.connector),
            ("resource", at if resource is not None else ""),
        )
        return ", ".join(f"{name} {value}" for name, value in words if value)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRevocation:
    """The user delegation keys of one account, or one of its own keys, ended by way of the connector `through`.

    Times are Unix seconds, 0 for "not yet": keys that begin before `revoked_at` are dead, and at `proved_at` storage
    refused one. `probe_connector` and `container` are what that is tried with. `covered` and `others` are how many
    living tokens on record it hit, or with `at_least` the least of them; `error` is why the last try failed.

    An account's own key ends by a rotation of what signs with it: of the object at `rotates`, whose uid is
    `rotates_uid`. Dead is then what its credential of `version` signed; `rotation` is the id of the rotation, once
    there is one.
    """

    cloud: str
    account: str
    through: str
    probe_connector: str
    container: str
    revoked_at: int = 0
    proved_at: int = 0
    covered: int = 0
    others: int = 0
    error: str = ""
    kind: SignerKind = SignerKind.USER_DELEGATION_KEY
    rotates: str = ""
    rotates_uid: str = ""
    version: int = 0
    rotation: str = ""
    at_least: bool = False

    @property
    def place(self) -> tuple[str, str, str]:
        """Which keys they are: of several in one revocation, no two are alike in this."""
        return self.cloud, self.account, self.rotates

    def is_over(self, now: float) -> bool:
        """Tells whether no key of before the revocation signs anything any more."""
        return bool(self.revoked_at) and (bool(self.proved_at) or now >= self.revoked_at + _LONGEST_KEY_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A revocation, in force until it is lifted. `covered` tokens lived when it was made, the last until then."""

    name: str
    target: RevocationTarget
    reason: str
    hard: bool
    created_at: datetime
    created_by: str
    covered: int = 0
    covered_until: int = 0
    keys: Sequence[KeyRevocation] = field(default=())
    lifted_at: datetime | None = None
    lifted_by: str = ""

    @property
    def in_force(self) -> bool:
        """Whether tokens that it covers are refused."""
        return self.lifted_at is None

    def state_of(self, keys: KeyRevocation, now: float) -> KeyRevocationState:
        """Returns how far the revocation of one account's keys is."""
        if not keys.revoked_at and not keys.rotation:
            return KeyRevocationState.PENDING if self.in_force else KeyRevocationState.GIVEN_UP
        return KeyRevocationState.REVOKED if keys.is_over(now) else KeyRevocationState.REVOKING

    def state(self, now: float, covered_until: float) -> RevocationState:
        """Returns how far it is at `now`; the last token that it covers ends by itself at `covered_until`."""
        if not self.in_force:
            return RevocationState.LIFTED
        if covered_until <= now or (self.hard and all(each.is_over(now) for each in self.keys)):
            return RevocationState.REVOKED
        return RevocationState.REVOKING if self.hard else RevocationState.WAITING
