"""Rotations: how a connector, or a named secret, comes to another credential, step by step. Nothing here is secret."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum


class RotationState(Enum):
    """Where a rotation stands; the names are those of `valetkey.v1.RotationState` without its prefix."""

    OBTAINING = "obtaining"
    """The new credential is being made at its provider."""
    PROVING = "proving"
    """The new credential is tried until it works; the old one is in use."""
    SWITCHING = "switching"
    """The new credential works and is being put in the old one's place: the point of no return."""
    WAITING = "waiting"
    """The new credential is in use; the old one stays good until what it signed has ended."""
    WITHDRAWING = "withdrawing"
    """The old credential is being removed at its provider."""
    UNDOING = "undoing"
    """What was done is being taken back; the old credential is in use, and stays."""
    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self in _ENDED

    @property
    def can_be_aborted(self) -> bool:
        """Whether the old credential is still in use and nothing has been decided."""
        return self in (RotationState.OBTAINING, RotationState.PROVING)

    @property
    def waits_for_leases(self) -> bool:
        """Whether the end of what the old credential signed may be waited for."""
        return self in (RotationState.WAITING, RotationState.WITHDRAWING)


BACK_TO = "back_to"
"""Among the notes of a rollback: the version that it goes back to."""
_ENDED = frozenset({RotationState.DONE, RotationState.FAILED, RotationState.ABORTED})


@dataclass(frozen=True, slots=True)
class NewWay:
    """What is to be different beside the secret; what is empty or None stays, `remove` names fields to empty.

    `azure` holds fields of `AzureConfig` by name. `auth_method` is never empty: it says how the candidate is read.
    """

    auth_method: str
    azure: Mapping[str, str] = field(default_factory=dict)
    expires_at: datetime | None = None
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """One rotation as Vault keeps it; `version` is that of its document, for check-and-set.

    `object` is the path of what gets another credential, `connectors/NAME` or `secrets/NAME`, and `object_uid` its uid.
    `source` says where the credential comes from. `may_redirect` tells whether who began it may have grants mean
    something else: `started_by`, of whose API key `started_by_uid` is the uid. `candidate` is the version of the new
    credential at `candidate_path`, 0 while there is none; `from_version` the credential version in use when it began,
    `to_version` that of the new one once it is in use. `notes` are facts of the source's own. `wait_until` is in Unix
    seconds. `spent_seconds` of `prove_seconds` went by with `tries` that failed, of which `reason` and `message` are
    the last one's, or why it came to nothing.

    `holder` is the process that works on it, nobody where it is empty; `fence` counts up with every holder, `beat` with
    every sign of life. Every write is check-and-set: whoever lost it to another holder cannot write any more.
    """

    id: str
    object: str
    object_uid: str
    source: str
    state: RotationState
    started_at: datetime
    started_by: str
    started_by_uid: str = ""
    updated_at: datetime
    request_id: str = ""
    method: str = ""
    may_redirect: bool = False
    way: NewWay
    candidate: int = 0
    from_version: int = 0
    to_version: int = 0
    notes: Mapping[str, str] = field(default_factory=dict)
    wait_until: float = 0.0
    prove_seconds: int = 0
    spent_seconds: float = 0.0
    tries: int = 0
    reason: str = ""
    message: str = ""
    ends_as: RotationState = RotationState.FAILED
    holder: str = ""
    fence: int = 0
    beat: int = 0
    version: int = 0

    @property
    def name(self) -> str:
        """The name of what gets another credential."""
        return self.object.partition("/")[2]

    @property
    def taken_from(self) -> int:
        """The version whose credential a rollback brings back; 0 for none, and for rollbacks of earlier versions."""
        return int(self.notes.get(BACK_TO, "0"))

    @property
    def path(self) -> str:
        """Where it is kept."""
        return rotation_path(self.object)

    @property
    def candidate_path(self) -> str:
        """Where the new credential is while it is not in use."""
        return f"rotation-credentials/{self.path.partition('/')[2]}"


_SECRET = "secret_"  # noqa: S105 (in no connector's name is an underscore)


def rotation_path(object_path: str) -> str:
    """Returns where the rotation of the object at `connectors/NAME` or `secrets/NAME` is kept."""
    folder, _, name = object_path.partition("/")
    return f"rotations/{_SECRET if folder == 'secrets' else ''}{name}"


def rotated_object(path: str) -> str:
    """Returns the path of the object whose rotation is kept at `path`."""
    name = path.partition("/")[2]
    return f"secrets/{name.removeprefix(_SECRET)}" if name.startswith(_SECRET) else f"connectors/{name}"
