"""Between the messages of `valetkey.v1` and plain values."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from valetkey import descriptions, values
from valetkey.checks import checks_of
from valetkey.errors import InvalidArgumentError, ValetKeyError, code_name, from_detail, reason_name
from valetkey.rotations import schedule_of
from valetkey.v1 import common_pb2 as common_pb
from valetkey.v1 import connector_service_pb2 as connector_pb
from valetkey.v1 import errors_pb2 as errors_pb
from valetkey.v1 import grant_service_pb2 as grant_pb
from valetkey.v1 import ledger_service_pb2 as ledger_pb
from valetkey.v1 import resource_service_pb2 as resource_pb
from valetkey.v1 import token_service_pb2 as token_pb

# Each enum with the prefix of its values: `CONNECTOR_TYPE_AZURE` is `azure` for people.
PERMISSION = (common_pb.Permission, "PERMISSION_")
ROLE = (common_pb.Role, "ROLE_")
RESOURCE_TYPE = (common_pb.ResourceType, "RESOURCE_TYPE_")
CONNECTOR_TYPE = (connector_pb.ConnectorType, "CONNECTOR_TYPE_")
AUTH_METHOD = (connector_pb.AuthMethod, "AUTH_METHOD_")
CONSUMER_ROLE = (grant_pb.ConsumerRole, "CONSUMER_ROLE_")
EVENT_KIND = (ledger_pb.EventKind, "EVENT_KIND_")
LEASE_STATE = (ledger_pb.LeaseState, "LEASE_STATE_")
TTL_LIMIT = (common_pb.TtlLimit, "TTL_LIMIT_")
WATCH_END_REASON = (token_pb.WatchEndReason, "WATCH_END_REASON_")

# ZenML has them; no connector can live on them. What is said of each wherever somebody writes its name.
NEVER_AUTH_METHODS = {
    "access-token": "an access token ends within the hour, and gives no key to sign tokens with for longer",
    "sas-token": "the broker hands SAS tokens out, and takes none: none can be made from another",
}


def choices(enum: tuple[Any, str]) -> list[str]:
    """Returns the words of an enum, in the order of the API."""
    wrapper, prefix = enum
    return [_word(name, prefix) for name, number in wrapper.items() if number]


def to_number(enum: tuple[Any, str], word: str, field: str) -> Any:
    """Returns the number of an enum's word.

    Raises InvalidArgumentError where there is no such word.
    """
    wrapper, prefix = enum
    for name, number in wrapper.items():
        if number and _word(name, prefix) == word:
            return number
    if enum is AUTH_METHOD and (why := NEVER_AUTH_METHODS.get(word)):
        raise InvalidArgumentError(f"{field}: {word} is refused: {why}; expected one of {', '.join(choices(enum))}")
    raise InvalidArgumentError(f"{field}: {word!r} is unknown; expected one of {', '.join(choices(enum))}")


def to_word(enum: tuple[Any, str], number: int) -> str:
    """Returns the word of a number; a newer broker's unknown one shows as itself."""
    wrapper, prefix = enum
    if number == 0:
        return ""
    try:
        return _word(wrapper.Name(number), prefix)
    except ValueError:
        return f"unknown-{number}"


def name(enum: tuple[Any, str], number: int) -> str:
    """Returns the name of a number without its prefix, such as `GRANT_GONE`; empty where it is not set."""
    return to_word(enum, number).upper().replace("-", "_")


def to_permissions(words: Iterable[str]) -> list[Any]:
    """Returns the numbers of permissions.

    Raises InvalidArgumentError for an unknown one, and for one bare string.
    """
    if isinstance(words, str):
        raise InvalidArgumentError('permissions: is one string; expected several, such as ("read", "list")')
    return [to_number(PERMISSION, word, "permissions") for word in words]


def permissions(numbers: Iterable[int]) -> tuple[str, ...]:
    """Returns the words of permissions, in the order given."""
    return tuple(to_word(PERMISSION, number) for number in numbers)


def to_duration(value: timedelta, field: str) -> Duration:
    """Returns a protobuf Duration.

    Raises InvalidArgumentError where it is no timedelta, or longer than a Duration can be: 315,576,000,000 s, about
    10,000 years.
    """
    if not isinstance(value, timedelta):
        raise InvalidArgumentError(f"{field}: {value!r} is not a timedelta; expected one such as timedelta(minutes=15)")
    message = Duration()
    try:
        message.FromTimedelta(value)
        message.ToJsonString()  # checks the range, which FromTimedelta leaves to others in some versions
    except (ValueError, OverflowError):
        raise InvalidArgumentError(
            f"{field}: {value} is longer than a duration can be; expected minutes to days"
        ) from None
    return message


def to_timestamp(value: datetime, field: str) -> Timestamp:
    """Returns a protobuf Timestamp.

    Raises InvalidArgumentError where it is no datetime, or a naive one: that would mean another moment on another
    machine.
    """
    if not isinstance(value, datetime):
        raise InvalidArgumentError(f"{field}: {value!r} is not a datetime; expected an aware one, such as one in UTC")
    if value.tzinfo is None:
        raise InvalidArgumentError(f"{field}: has no time zone; expected an aware datetime, such as one in UTC")
    message = Timestamp()
    message.FromDatetime(value.astimezone(UTC))
    return message


def given_duration(value: timedelta | None, field: str) -> Duration | None:
    """Returns a Duration as `to_duration` does, None for None."""
    return None if value is None else to_duration(value, field)


def given_timestamp(value: datetime | None, field: str) -> Timestamp | None:
    """Returns a Timestamp as `to_timestamp` does, None for None."""
    return None if value is None else to_timestamp(value, field)


def moment(message: Any, field: str) -> datetime | None:
    """Returns a timestamp of a message in UTC, None where it is not set."""
    return getattr(message, field).ToDatetime(UTC) if message.HasField(field) else None


def span(message: Any, field: str) -> timedelta | None:
    """Returns a duration of a message, None where it is not set."""
    return getattr(message, field).ToTimedelta() if message.HasField(field) else None


def token(message: token_pb.IssueTokenResponse) -> values.Token:
    """Returns the token of an answer."""
    return values.Token(
        lease_id=message.lease_id,
        resource=resource(message.resource),
        permissions=permissions(message.permissions),
        start_time=message.start_time.ToDatetime(UTC),
        expire_time=message.expire_time.ToDatetime(UTC),
        connector=message.connector,
        credential_version=message.credential_version,
        sas_token=message.sas_token,
        ttl_limited_by=to_word(TTL_LIMIT, message.ttl_limited_by),
        grant=message.grant,
        answer_time=moment(message, "answer_time"),
    )


def token_or_error(message: token_pb.IssueTokenResult) -> values.Token | ValetKeyError:
    """Returns what became of one of several requests."""
    if message.WhichOneof("result") == "token":
        return token(message.token)
    return from_detail(message.error.detail, message.error.message, code_name(message.error.code))


def resource(message: common_pb.Resource) -> values.Resource:
    """Returns one resource."""
    return values.Resource(
        resource_type=to_word(RESOURCE_TYPE, message.resource_type),
        resource_id=message.resource_id,
        account=message.account,
        url=message.url,
    )


def resources(
    messages: Iterable[common_pb.Resource],
    account_errors: Iterable[errors_pb.AccountError] = (),
    left_out: int = 0,
    checks: Iterable[errors_pb.Check] = (),
) -> values.Resources:
    """Returns resources in the broker's order, with the errors of accounts that could not be looked through.

    `left_out` is how many the broker did not show, `checks` what it checked.
    """
    found = values.Resources(resource(message) for message in messages)
    found.account_errors = tuple(
        values.AccountError(each.account, from_detail(each.error, each.message)) for each in account_errors
    )
    found.left_out = left_out
    found.checks = checks_of(checks)
    return found


def azure_config(message: connector_pb.AzureConfig) -> values.AzureConfig:
    """Returns the configuration of a connector or of a named secret."""
    return values.AzureConfig(
        tenant_id=message.tenant_id,
        client_id=message.client_id,
        cloud=message.cloud,
        storage_account=message.storage_account,
        subscription_id=message.subscription_id,
        resource_group=message.resource_group,
        implicit_source=message.implicit_source,
    )


def connector(message: connector_pb.Connector) -> values.Connector:
    """Returns one connector."""
    return values.Connector(
        name=message.name,
        type=to_word(CONNECTOR_TYPE, message.type),
        auth_method=to_word(AUTH_METHOD, message.auth_method),
        resource_type=to_word(RESOURCE_TYPE, message.resource_type),
        resource_id=message.resource_id,
        azure=azure_config(message.azure),
        credential_version=message.credential_version,
        uid=message.meta.uid,
        create_time=message.meta.create_time.ToDatetime(UTC),
        created_by=message.meta.created_by,
        description=message.description,
        labels=dict(message.labels),
        expire_time=moment(message, "expire_time"),
        expires_skew_tolerance=span(message, "expires_skew_tolerance"),
        unverified=message.unverified,
        authentication_secret=message.authentication_secret,
        # Brokers before there were multi-type connectors say the one type only.
        resource_types=tuple(
            to_word(RESOURCE_TYPE, number) for number in message.resource_types or [message.resource_type] if number
        ),
        health=_health(message.health) if message.HasField("health") else None,
        rotation_schedule=schedule_of(message.rotation_schedule),
    )


def _health(message: connector_pb.ConnectorHealth) -> values.ConnectorHealth:
    return values.ConnectorHealth(
        healthy=message.healthy,
        since_time=message.since_time.ToDatetime(UTC),
        reason=reason_name(message.reason),
        message=message.message,
        mend=message.mend,
    )


def connector_type(message: connector_pb.ConnectorTypeDescription) -> descriptions.ConnectorTypeDescription:
    """Returns the description of one type of connectors."""
    return descriptions.ConnectorTypeDescription(
        type=to_word(CONNECTOR_TYPE, message.type),
        title=message.title,
        help=message.help,
        auth_methods=tuple(
            descriptions.AuthMethodDescription(
                auth_method=to_word(AUTH_METHOD, method.auth_method),
                title=method.title,
                help=method.help,
                fields=_fields(method.fields),
            )
            for method in message.auth_methods
        ),
        resource_types=tuple(
            descriptions.ResourceTypeDescription(
                to_word(RESOURCE_TYPE, each.resource_type), each.title, each.help, tuple(each.id_examples)
            )
            for each in message.resource_types
        ),
        fields=_fields(message.fields),
    )


def _fields(messages: Iterable[connector_pb.FieldDescription]) -> tuple[descriptions.FieldDescription, ...]:
    return tuple(
        descriptions.FieldDescription(
            field.name, field.secret, field.required, field.help, field.example, tuple(field.choices)
        )
        for field in messages
    )


def connector_resources(message: resource_pb.ConnectorResources) -> values.ConnectorResources:
    """Returns one connector's entry of a list of resources."""
    failed = message.HasField("error") or bool(message.error_message)
    return values.ConnectorResources(
        connector_uid=message.connector_uid,
        connector=message.connector,
        connector_type=to_word(CONNECTOR_TYPE, message.connector_type),
        resource_type=to_word(RESOURCE_TYPE, message.resource_type),
        resources=resources(message.resources, message.account_errors),
        error=from_detail(message.error, message.error_message or "failed") if failed else None,
        incomplete=message.incomplete or bool(message.account_errors),
    )


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower().replace("_", "-")
