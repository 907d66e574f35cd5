"""What the client gives back: plain, immutable values. Times are aware datetimes in UTC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from valetkey.checklist_values import Check
from valetkey.errors import ValetKeyError
from valetkey.rotation_values import RotationSchedule
from valetkey.token_values import Resource as Resource  # noqa: PLC0414 (has a module of its own to load sooner)
from valetkey.token_values import Token as Token  # noqa: PLC0414


@dataclass(frozen=True, slots=True)
class AccountError:
    """Why one storage account could not be looked through; `account` is empty for a place that may hold several."""

    account: str
    error: ValetKeyError


class Resources(tuple[Resource, ...]):  # noqa: SLOT001 (it has attributes of its own)
    """Resources in the broker's order; `account_errors` says which accounts could not be looked through, and why.

    `left_out` is how many more there are, where the broker shows the first ones only: `list_resources` returns all.
    `checks` are the lines of what was checked, where a connector was registered or verified.
    """

    account_errors: tuple[AccountError, ...] = ()
    left_out: int = 0
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class AzureConfig:
    """Non-secret configuration of an Azure connector. Empty strings stand for "not given"."""

    tenant_id: str
    client_id: str
    cloud: str = ""
    storage_account: str = ""
    subscription_id: str = ""
    resource_group: str = ""
    implicit_source: str = ""


@dataclass(frozen=True, slots=True)
class ConnectorHealth:
    """Whether the cloud takes a connector's credential, since when, as far as the answering replica has heard.

    Where it is refused, `reason` is that of an error, `message` says what the cloud said, and `mend` is the command
    that mends it, or what to do.
    """

    healthy: bool
    since_time: datetime
    reason: str = ""
    message: str = ""
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Connector:
    """A registered connector, without its secret. `resource_id` is empty where it serves all it reaches.

    `resource_types` are the types of what it serves; `resource_type` is the one it is for, empty for a multi-type one.
    `expire_time` is when its credential ends, as whoever registered it said, and counts as ended
    `expires_skew_tolerance` earlier. `unverified` ones were stored without having been tried.
    `authentication_secret` is the named secret that it uses, empty where it has a credential of its own, which
    `rotation_schedule` has rotated by itself. `health` is None where the answering replica has not used its credential
    yet.
    """

    name: str
    type: str
    auth_method: str
    resource_type: str
    resource_id: str
    azure: AzureConfig
    credential_version: int
    uid: str
    create_time: datetime
    created_by: str
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    expire_time: datetime | None = None
    expires_skew_tolerance: timedelta | None = None
    unverified: bool = False
    authentication_secret: str = ""
    health: ConnectorHealth | None = field(default=None, compare=False)
    resource_types: tuple[str, ...] = ()
    rotation_schedule: RotationSchedule | None = None

    def expired(self, now: datetime) -> bool:
        """Tells whether its credential counts as ended."""
        return self.expire_time is not None and now >= self.expire_time - (self.expires_skew_tolerance or timedelta())


@dataclass(frozen=True, slots=True)
class CreatedConnector:
    """A connector that was just registered or changed, what it reached when verified, and what to look after."""

    connector: Connector
    resources: Resources
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConnectorResources:
    """What one connector reaches of one resource type, or the error that keeps the broker from saying so.

    `incomplete` says that some of it could not be told; those with a role learn of which accounts.
    """

    connector_uid: str
    connector: str
    connector_type: str
    resource_type: str
    resources: Resources
    error: ValetKeyError | None
    incomplete: bool = False


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as the broker knows it: nothing of its secret. Its principal is `key:NAME`.

    `overlap_end_time` is when the last of the secrets that it had before ends, None where none of them is good.
    `rotate_time` and `rotated_by` are those of the secret that it has now, None and empty where that is its first.
    """

    name: str
    roles: tuple[str, ...]
    expire_time: datetime
    uid: str
    create_time: datetime
    created_by: str
    overlap_end_time: datetime | None = None
    rotate_time: datetime | None = None
    rotated_by: str = ""


@dataclass(frozen=True, slots=True)
class GrantedConnector:
    """A connector as a grant knows it; `uid` binds, so that a later connector of the same name is not meant."""

    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantSpec:
    """What a grant says. Give either `permissions` or `consumer_role`: orchestrator, step-operator,
    …-with-delete of either, or deployer.

    In `principals`, `containers` and the values of `attributes`, `*` stands for one or more characters inside one
    segment. A new grant may name its connectors by plain strings. Empty `prefixes` stand for whole containers;
    `max_ttl` None for the broker's limit; `expire_time` None for never.
    """

    principals: Sequence[str]
    connectors: Sequence[str | GrantedConnector]
    containers: Sequence[str]
    prefixes: Sequence[str] = ()
    permissions: Sequence[str] = ()
    consumer_role: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    max_ttl: timedelta | None = None
    source_ip: str = ""
    expire_time: datetime | None = None
    note: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A stored grant. `permissions` are those it gives, `consumer_role` the label they were given by, if any.

    `version` counts from 1 and goes back with an update, which fails if somebody else was faster. `warnings` are
    sentences for whoever just made or changed it.
    """

    name: str
    principals: tuple[str, ...]
    attributes: Mapping[str, str]
    connectors: tuple[GrantedConnector, ...]
    containers: tuple[str, ...]
    prefixes: tuple[str, ...]
    permissions: tuple[str, ...]
    consumer_role: str
    max_ttl: timedelta | None
    source_ip: str
    expire_time: datetime | None
    note: str
    version: int
    uid: str
    create_time: datetime
    created_by: str
    warnings: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def spec(self) -> GrantSpec:
        """What it says, to be changed with `dataclasses.replace` and sent back with `update_grant`."""
        return GrantSpec(
            principals=self.principals,
            attributes=self.attributes,
            connectors=self.connectors,
            containers=self.containers,
            prefixes=self.prefixes,
            permissions=() if self.consumer_role else self.permissions,
            consumer_role=self.consumer_role,
            max_ttl=self.max_ttl,
            source_ip=self.source_ip,
            expire_time=self.expire_time,
            note=self.note,
            labels=self.labels,
        )


@dataclass(frozen=True, slots=True)
class GrantFinding:
    """What one grant has to say to a request: that it allows it, or each reason why not."""

    grant: str
    allows: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AccessExplanation:
    """Whether a request would be allowed, by which grant, what each says, and the nearest thing that would work.

    A token would live for `ttl`, shorter than asked for where `ttl_limited_by` says why (see Token), and be bound to
    `source_ip`, if any. `error_message` is what else than grants keeps it from being allowed. `scope` says what it is
    for. `caller_problem` is why nobody can call as the principal now, whatever is granted: its API key is gone, or
    expired.
    """

    allowed: bool
    grant: str
    findings: tuple[GrantFinding, ...]
    nearest: str
    ttl: timedelta | None = None
    ttl_limited_by: str = ""
    source_ip: str = ""
    error_message: str = ""
    scope: str = ""
    caller_problem: str = ""
