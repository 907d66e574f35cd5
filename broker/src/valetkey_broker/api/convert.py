"""Domain values to messages and back."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Generic, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from valetkey.v1 import (
    api_key_service_pb2,
    common_pb2,
    connector_service_pb2,
    errors_pb2,
    grant_service_pb2,
    ledger_service_pb2,
    secret_service_pb2,
)
from valetkey_broker.model import (
    ApiKey,
    AzureConfig,
    Connector,
    ConnectorType,
    ConsumerRole,
    Container,
    EventKind,
    Grant,
    InvalidFieldError,
    NamedSecret,
    Permission,
    PermissionSet,
    Role,
    RotationSchedule,
    Secret,
    TtlLimit,
)
from valetkey_broker.model.connector_health import Health

M = TypeVar("M", bound=Hashable)
E = TypeVar("E", bound=Enum)


class _ProtoEnum(Generic[M]):
    """Values of the domain, and the numbers that a proto enum has for them."""

    def __init__(self, to_proto: Mapping[M, Any], expected: str, field: str) -> None:
        """`expected` lists the values as errors about `field` name them."""
        self.to_proto = to_proto
        self._expected = expected
        self._field = field
        self._from_proto = {number: value for value, number in to_proto.items()}

    def read(self, number: int) -> M:
        """Returns the domain value. Raises InvalidFieldError for the unspecified and for unknown numbers."""
        try:
            return self._from_proto[number]
        except KeyError:
            what = "is not given" if number == 0 else f"has the unknown value {number}"
            raise InvalidFieldError(self._field, what, self._expected) from None


def _of_enum(domain: type[E], proto: Any, prefix: str, field: str) -> _ProtoEnum[E]:
    """Maps a domain enum to the proto enum whose values are called PREFIX_NAME."""
    expected = ", ".join(_word(member.name) for member in domain)
    return _ProtoEnum({member: proto.Value(f"{prefix}_{member.name}") for member in domain}, expected, field)


def _of_names(proto: Any, prefix: str, field: str) -> _ProtoEnum[str]:
    """Maps names as commands and documents write them to the proto enum that has them as PREFIX_NAME."""
    numbers = {_word(name.removeprefix(f"{prefix}_")): number for name, number in proto.items() if number}
    return _ProtoEnum(numbers, ", ".join(numbers), field)


def _word(name: str) -> str:
    return name.lower().replace("_", "-")


PERMISSIONS = _of_enum(Permission, common_pb2.Permission, "PERMISSION", "permissions")
ROLES = _of_enum(Role, common_pb2.Role, "ROLE", "roles")
RESOURCE_TYPES = _of_names(common_pb2.ResourceType, "RESOURCE_TYPE", "resource_type")
CONNECTOR_TYPES = _of_enum(ConnectorType, connector_service_pb2.ConnectorType, "CONNECTOR_TYPE", "type")
AUTH_METHODS = _of_names(connector_service_pb2.AuthMethod, "AUTH_METHOD", "auth_method")
CONSUMER_ROLES = _of_enum(ConsumerRole, grant_service_pb2.ConsumerRole, "CONSUMER_ROLE", "consumer_role")
TTL_LIMITS = _of_enum(TtlLimit, common_pb2.TtlLimit, "TTL_LIMIT", "ttl_limited_by")
EVENT_KINDS = _of_enum(EventKind, ledger_service_pb2.EventKind, "EVENT_KIND", "kind")

# Neither has more than there are sets of permissions.
_PERMISSION_SETS: dict[frozenset[int], PermissionSet] = {}
_PERMISSION_NUMBERS: dict[str, Sequence[common_pb2.Permission.ValueType]] = {}
# Each permission a few times over is sloppy; more than that nobody means, and reading it costs.
_MOST_PERMISSIONS = 32
_MAX_DURATION_SECONDS = 315_576_000_000  # google.protobuf.Duration's own bound
_MAX_NANOS = 1_000_000_000


def permission_set(numbers: Sequence[int]) -> PermissionSet:
    """Returns the permissions of a request; each combination is made once. Raises InvalidFieldError."""
    if len(numbers) > _MOST_PERMISSIONS:
        raise InvalidFieldError("permissions", f"holds {len(numbers)} values", f"at most {_MOST_PERMISSIONS}")
    key = frozenset(numbers)
    known = _PERMISSION_SETS.get(key)
    if known is None:
        known = _PERMISSION_SETS[key] = PermissionSet(PERMISSIONS.read(number) for number in numbers)
    return known


def permission_numbers(permissions: PermissionSet) -> Sequence[common_pb2.Permission.ValueType]:
    """Returns permissions as a message has them, in Azure's order."""
    known = _PERMISSION_NUMBERS.get(permissions.sp)
    if known is None:
        known = tuple(PERMISSIONS.to_proto[permission] for permission in permissions.members)
        _PERMISSION_NUMBERS[permissions.sp] = known
    return known


def timestamp(value: datetime) -> Timestamp:
    """Returns a point in time as a message."""
    message = Timestamp()
    message.FromDatetime(value)
    return message


def seconds_of(duration: Duration, field: str) -> int:
    """Returns a duration in whole seconds, parts cut off; -1 for a negative one. Raises InvalidFieldError."""
    seconds, nanos = duration.seconds, duration.nanos
    if abs(seconds) > _MAX_DURATION_SECONDS or abs(nanos) >= _MAX_NANOS or seconds * nanos < 0:
        raise InvalidFieldError(field, "is not a duration", "seconds and nanos of one sign, within their bounds")
    return seconds if nanos >= 0 else -1


def instant(value: Timestamp, field: str) -> datetime:
    """Returns a point in time. Raises InvalidFieldError."""
    try:
        return value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidFieldError(field, "is not a point in time", "a time between the years 1 and 9999") from None


def given_instant(message: Any, field: str) -> datetime | None:
    """Returns a point in time of a message, None where it is not given. Raises InvalidFieldError."""
    return instant(getattr(message, field), field) if message.HasField(field) else None


def given_seconds(message: Any, field: str) -> int | None:
    """Returns a duration of a message in whole seconds, None where it is not given. Raises InvalidFieldError."""
    return seconds_of(getattr(message, field), field) if message.HasField(field) else None


def azure_config(message: connector_service_pb2.AzureConfig) -> AzureConfig:
    """Returns a configuration as it was given. By name, so that what an auth method adds needs nothing here."""
    return AzureConfig(**{field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields})


def given_secrets(message: connector_service_pb2.AzureSecret) -> Mapping[str, Secret]:
    """Returns the secret fields that are given, by name."""
    return {field.name: Secret(value) for field, value in message.ListFields()}


def connector_message(connector: Connector, health: Health | None) -> connector_service_pb2.Connector:
    """Returns a connector as a message, with what is known of its health; there is nothing secret in either."""
    message = connector_service_pb2.Connector(
        name=connector.name,
        type=CONNECTOR_TYPES.to_proto[connector.type],
        auth_method=AUTH_METHODS.to_proto[connector.auth_method],
        resource_types=map(RESOURCE_TYPES.to_proto.__getitem__, connector.resource_types),
        resource_id=str(connector.resource) if connector.resource else "",
        azure=connector_service_pb2.AzureConfig(**asdict(connector.azure)),
        credential_version=connector.credential_version,
        meta=common_pb2.ObjectMeta(
            uid=connector.uid, create_time=timestamp(connector.created_at), created_by=connector.created_by
        ),
        description=connector.description,
        labels=dict(connector.labels),
        unverified=connector.unverified,
        authentication_secret=connector.secret,
    )
    if connector.resource_type is not None:
        message.resource_type = RESOURCE_TYPES.to_proto[connector.resource_type]
    if connector.expires_at is not None:
        message.expire_time.CopyFrom(timestamp(connector.expires_at))
    if connector.expires_skew_tolerance is not None:
        message.expires_skew_tolerance.seconds = connector.expires_skew_tolerance
    if health is not None:
        message.health.healthy = health.healthy
        message.health.since_time.FromNanoseconds(int(health.since * 1e9))
        if health.reason:
            message.health.reason = errors_pb2.ErrorReason.Value(f"ERROR_REASON_{health.reason}")
        message.health.message, message.health.mend = health.message, health.mend
    if connector.rotation_schedule is not None:
        message.rotation_schedule.CopyFrom(_schedule_message(connector.rotation_schedule))
    return message


def secret_message(secret: NamedSecret, users: Sequence[str], most: int) -> secret_service_pb2.NamedSecret:
    """Returns a named secret as a message, with at most so many of the connectors that use it; never its value."""
    message = secret_service_pb2.NamedSecret(
        name=secret.name,
        type=CONNECTOR_TYPES.to_proto[secret.type],
        auth_method=AUTH_METHODS.to_proto[secret.auth_method],
        azure=connector_service_pb2.AzureConfig(**asdict(secret.azure)),
        secret_fields=secret.secret_fields,
        credential_version=secret.credential_version,
        meta=common_pb2.ObjectMeta(
            uid=secret.uid, create_time=timestamp(secret.created_at), created_by=secret.created_by
        ),
        update_time=timestamp(secret.updated_at),
        updated_by=secret.updated_by,
        connectors=users[:most],
        connector_count=len(users),
    )
    if secret.expires_at is not None:
        message.expire_time.CopyFrom(timestamp(secret.expires_at))
    if secret.rotation_schedule is not None:
        message.rotation_schedule.CopyFrom(_schedule_message(secret.rotation_schedule))
    return message


def _schedule_message(schedule: RotationSchedule) -> connector_service_pb2.RotationSchedule:
    message = connector_service_pb2.RotationSchedule(by=schedule.by)
    message.every.seconds = schedule.every_seconds
    return message


def resource_message(container: Container, prefix: str = "") -> common_pb2.Resource:
    """Returns a container, or a path inside it with all that is below, as a message."""
    return common_pb2.Resource(
        resource_type=RESOURCE_TYPES.to_proto[container.resource_type],
        resource_id=str(container.inside(prefix)),
        account=container.account,
        url=container.url,
    )


def resource_messages(containers: Sequence[Container]) -> list[common_pb2.Resource]:
    """Returns containers as messages."""
    return [resource_message(container) for container in containers]


def api_key_message(key: ApiKey, now: datetime) -> api_key_service_pb2.ApiKey:
    """Returns an API key as a message, without its hashes, of which those of before count that are good at `now`."""
    message = api_key_service_pb2.ApiKey(
        name=key.name,
        roles=sorted(ROLES.to_proto[role] for role in key.roles),
        expire_time=timestamp(key.expires_at),
        meta=common_pb2.ObjectMeta(uid=key.uid, create_time=timestamp(key.created_at), created_by=key.created_by),
        rotated_by=key.rotated_by,
    )
    if key.rotated_at is not None:
        message.rotate_time.CopyFrom(timestamp(key.rotated_at))
    if (overlap_ends := key.overlap_ends(now)) is not None:
        message.overlap_end_time.CopyFrom(timestamp(overlap_ends))
    return message


def grant_message(grant: Grant) -> grant_service_pb2.Grant:
    """Returns a grant as a message."""
    role: Any = CONSUMER_ROLES.to_proto[grant.consumer_role] if grant.consumer_role else 0
    message = grant_service_pb2.Grant(
        name=grant.name,
        principals=[pattern.text for pattern in grant.principals],
        attributes={name: pattern.text for name, pattern in grant.attributes},
        connectors=[grant_service_pb2.GrantedConnector(name=c.name, uid=c.uid) for c in grant.connectors],
        containers=[pattern.text for pattern in grant.containers],
        prefixes=grant.prefixes,
        permissions=[PERMISSIONS.to_proto[permission] for permission in grant.permissions.members],
        consumer_role=role,
        source_ip=grant.source_ip,
        note=grant.note,
        labels=dict(grant.labels),
        version=grant.version,
        meta=common_pb2.ObjectMeta(uid=grant.uid, create_time=timestamp(grant.created_at), created_by=grant.created_by),
    )
    if grant.max_ttl is not None:
        message.max_ttl.seconds = grant.max_ttl
    if grant.expires_at is not None:
        message.expire_time.CopyFrom(timestamp(grant.expires_at))
    return message
