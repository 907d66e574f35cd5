"""Rotations of credentials as the client shows them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

ENDED = frozenset({"done", "failed", "aborted"})
"""The states after which nothing follows."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """How a connector, or a named secret, comes to another credential. Nothing of it is secret.

    `holder` is `connector` or `secret`, `source` where the new credential comes from, such as `given` or `rollback`. Of
    the time that the new credential is tried for, `prove_for`, `spent` went by with `tries` that failed. `reason` and
    `message` are those of the last one, or why the rotation came to nothing. `wait_until` is set while it waits.
    """

    id: str
    name: str
    holder: str
    source: str
    state: str
    start_time: datetime
    started_by: str
    update_time: datetime
    auth_method: str
    from_version: int
    to_version: int
    tries: int
    prove_for: timedelta
    spent: timedelta
    reason: str
    message: str
    wait_until: datetime | None
    connectors: tuple[str, ...]

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class RotationSchedule:
    """How often a credential is rotated by itself, and by the rights of which connector; empty: by its own."""

    every: timedelta
    by: str = ""


def schedule_of(message: Any) -> RotationSchedule | None:
    """Returns the schedule in a message of the API's; None where there is none."""
    return RotationSchedule(message.every.ToTimedelta(), message.by) if message.HasField("every") else None


@dataclass(frozen=True, slots=True)
class CredentialVersion:
    """A version of a credential that is kept; `since` and `given_by` are None and empty where nobody noted them.

    `taken_from` is the version that a rollback took it from, 0 where it came otherwise.
    """

    version: int
    in_use: bool
    auth_method: str
    since: datetime | None
    given_by: str
    rotation: str
    expire_time: datetime | None
    taken_from: int = 0
