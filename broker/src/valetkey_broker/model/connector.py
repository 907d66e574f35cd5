"""Connectors: named ways into a cloud account."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from valetkey_broker.model.resource import RESOURCE_TYPES, ResourceId


class ConnectorType(Enum):
    """Kind of cloud."""

    AZURE = "azure"


@dataclass(frozen=True, slots=True)
class AzureConfig:
    """Non-secret configuration of an Azure connector. Empty strings stand for "not given"."""

    tenant_id: str
    client_id: str
    cloud: str
    storage_account: str = ""
    subscription_id: str = ""
    resource_group: str = ""
    implicit_source: str = ""


@dataclass(frozen=True, slots=True)
class CredentialOrigin:
    """Since when a credential is in use, who gave it, and by which rotation (its id), if by one.

    `taken_from` is the version that a rollback took it from, 0 for none.
    """

    since: datetime
    given_by: str
    rotation: str = ""
    taken_from: int = 0


@dataclass(frozen=True, slots=True)
class PreviousWay:
    """How a connector, or a named secret, logged in with the credential version before, which is kept."""

    auth_method: str
    azure: AzureConfig
    expires_at: datetime | None = None
    origin: CredentialOrigin | None = None


@dataclass(frozen=True, slots=True)
class RotationSchedule:
    """How often a credential is rotated by itself, and by the rights of which connector; empty: by its own."""

    every_seconds: int
    by: str = ""


@dataclass(frozen=True, slots=True)
class Connector:
    """A named way into a cloud account.

    `resource_type` is the name of the one type of resources it serves; None makes it multi-type: it serves all types.
    `resource` is the one container a single-instance connector serves, always with its account; None makes the
    connector multi-instance: it serves all it reaches. `uid` is not inherited by a later connector of the same name.
    `auth_method` is the name of an auth method (`ports.AuthMethod`). `credential_version` is the KV version of the
    credential in use. `keys_not_before` (Unix seconds) is when an operator last had all signing keys dropped: none that
    began earlier signs anything.

    `previous_credential_version` is the one before, which is kept as well, 0 where there is none; `previous` says how
    it logs in, and `origin` where the one in use comes from, as far as that was noted down. `expires_at` is when the
    credential ends, as the operator said, and `expires_skew_tolerance` how many seconds earlier it counts as ended.
    `unverified` connectors were stored without asking the cloud. `version` is that of the document in Vault, for
    check-and-set.

    One that uses a named secret has that secret's uid in `secret_uid`, and takes auth method, configuration and
    credential version from it: `NamedSecret.used_by` gives it as it works, with the secret's name in `secret` and
    what it says itself in `own_azure`. A connector with a credential of its own has none of the three.
    """

    name: str
    uid: str
    type: ConnectorType
    auth_method: str
    resource_type: str | None
    resource: ResourceId | None
    azure: AzureConfig
    credential_version: int
    created_at: datetime
    created_by: str
    keys_not_before: int = 0
    previous_credential_version: int = 0
    description: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    expires_at: datetime | None = None
    expires_skew_tolerance: int | None = None
    unverified: bool = False
    version: int = 0
    secret_uid: str = ""
    secret: str = ""
    own_azure: AzureConfig | None = None
    origin: CredentialOrigin | None = None
    previous: PreviousWay | None = None
    rotation_schedule: RotationSchedule | None = None

    way_in: str = field(init=False, repr=False, compare=False)
    """What decides which resources it gets at, and as whom: what is remembered of one way in is not of another."""

    principal_way: str = field(init=False, repr=False, compare=False)
    """The same, whichever version of the credential proves it."""

    _by_type: dict[str, "Connector"] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        # Texts made once: they are part of keys that each request is looked up by.
        principal_way = f"{self.uid} {self.credential_uid} {self.auth_method} {self.azure}"
        object.__setattr__(self, "principal_way", principal_way)
        object.__setattr__(self, "way_in", f"{principal_way} {self.credential_version}")

    @property
    def object_path(self) -> str:
        """How the ledger, rotations and documents of it in Vault name it."""
        return f"connectors/{self.name}"

    @property
    def credential_uid(self) -> str:
        """Whose credential it uses: the uid of its secret, or its own."""
        return self.secret_uid or self.uid

    @property
    def resource_types(self) -> tuple[str, ...]:
        """The types of resources it serves, by name: one, or all that there are."""
        return tuple(RESOURCE_TYPES) if self.resource_type is None else (self.resource_type,)

    def serving(self, resource_type: str) -> "Connector":
        """Returns it as one that serves only that type, which it does: the same way in, and less to be reached."""
        if resource_type == self.resource_type:
            return self
        # Made once: requests for tokens come by here.
        found = self._by_type.get(resource_type)
        if found is None:
            found = self._by_type[resource_type] = replace(self, resource_type=resource_type)
        return found

    def scheduled(self, schedule: RotationSchedule | None) -> "Connector":
        """Returns it with another schedule of rotations, or without one."""
        return replace(self, rotation_schedule=schedule)

    def by_type(self) -> tuple["Connector", ...]:
        """Returns it as connectors of a single type: itself, or one for each type it serves."""
        return tuple(map(self.serving, self.resource_types))
