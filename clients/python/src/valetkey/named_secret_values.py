"""Named secrets as the client shows them: all but their values."""

from dataclasses import dataclass
from datetime import datetime

from valetkey.rotation_values import RotationSchedule
from valetkey.values import AzureConfig


@dataclass(frozen=True, slots=True)
class NamedSecret:
    """A named secret, without its value.

    `secret_fields` names what was given for it; `connectors` are those that use it, by name, and there may be more of
    them than that: `connector_count`. `update_time` is since when its value is in use, `expire_time` when that ends,
    None where nobody said. `rotation_schedule` has it rotated by itself.
    """

    name: str
    type: str
    auth_method: str
    azure: AzureConfig
    secret_fields: tuple[str, ...]
    credential_version: int
    uid: str
    create_time: datetime
    created_by: str
    update_time: datetime
    updated_by: str
    connectors: tuple[str, ...]
    connector_count: int
    expire_time: datetime | None = None
    rotation_schedule: RotationSchedule | None = None


@dataclass(frozen=True, slots=True)
class UpdatedSecret:
    """A secret with its new value, and the connectors that were verified with it."""

    secret: NamedSecret
    verified: tuple[str, ...]
