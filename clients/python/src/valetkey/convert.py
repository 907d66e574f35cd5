"""Between the messages of `valetkey.v1` and plain values."""

from collections.abc import Iterable
from datetime import UTC

from valetkey import connector_type_values, enums_and_times, values
from valetkey.checklist_values import checks_of
from valetkey.errors import from_detail, reason_name
from valetkey.rotation_values import schedule_of
from valetkey.token_messages import resource
from valetkey.v1 import common_pb2 as common_pb
from valetkey.v1 import connector_service_pb2 as connector_pb
from valetkey.v1 import errors_pb2 as errors_pb
from valetkey.v1 import grant_service_pb2 as grant_pb
from valetkey.v1 import ledger_service_pb2 as ledger_pb
from valetkey.v1 import resource_service_pb2 as resource_pb

# Each enum with the prefix of its values: `CONNECTOR_TYPE_AZURE` is `azure` for people.
CONNECTOR_TYPE = (connector_pb.ConnectorType, "CONNECTOR_TYPE_")
AUTH_METHOD = (connector_pb.AuthMethod, "AUTH_METHOD_")
CONSUMER_ROLE = (grant_pb.ConsumerRole, "CONSUMER_ROLE_")
EVENT_KIND = (ledger_pb.EventKind, "EVENT_KIND_")
LEASE_STATE = (ledger_pb.LeaseState, "LEASE_STATE_")


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
        type=enums_and_times.to_word(CONNECTOR_TYPE, message.type),
        auth_method=enums_and_times.to_word(AUTH_METHOD, message.auth_method),
        resource_type=enums_and_times.to_word(enums_and_times.RESOURCE_TYPE, message.resource_type),
        resource_id=message.resource_id,
        azure=azure_config(message.azure),
        credential_version=message.credential_version,
        uid=message.meta.uid,
        create_time=message.meta.create_time.ToDatetime(UTC),
        created_by=message.meta.created_by,
        description=message.description,
        labels=dict(message.labels),
        expire_time=enums_and_times.moment(message, "expire_time"),
        expires_skew_tolerance=enums_and_times.span(message, "expires_skew_tolerance"),
        unverified=message.unverified,
        authentication_secret=message.authentication_secret,
        # Brokers before there were multi-type connectors say the one type only.
        resource_types=tuple(
            enums_and_times.to_word(enums_and_times.RESOURCE_TYPE, number)
            for number in message.resource_types or [message.resource_type]
            if number
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


def connector_type(message: connector_pb.ConnectorTypeDescription) -> connector_type_values.ConnectorTypeDescription:
    """Returns the description of one type of connectors."""
    return connector_type_values.ConnectorTypeDescription(
        type=enums_and_times.to_word(CONNECTOR_TYPE, message.type),
        title=message.title,
        help=message.help,
        auth_methods=tuple(
            connector_type_values.AuthMethodDescription(
                auth_method=enums_and_times.to_word(AUTH_METHOD, method.auth_method),
                title=method.title,
                help=method.help,
                fields=_fields(method.fields),
            )
            for method in message.auth_methods
        ),
        resource_types=tuple(
            connector_type_values.ResourceTypeDescription(
                enums_and_times.to_word(enums_and_times.RESOURCE_TYPE, each.resource_type),
                each.title,
                each.help,
                tuple(each.id_examples),
            )
            for each in message.resource_types
        ),
        fields=_fields(message.fields),
    )


def _fields(messages: Iterable[connector_pb.FieldDescription]) -> tuple[connector_type_values.FieldDescription, ...]:
    return tuple(
        connector_type_values.FieldDescription(
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
        connector_type=enums_and_times.to_word(CONNECTOR_TYPE, message.connector_type),
        resource_type=enums_and_times.to_word(enums_and_times.RESOURCE_TYPE, message.resource_type),
        resources=resources(message.resources, message.account_errors),
        error=from_detail(message.error, message.error_message or "failed") if failed else None,
        incomplete=message.incomplete or bool(message.account_errors),
    )
