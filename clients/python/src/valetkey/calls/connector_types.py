"""What types of connectors there are, and what a connector would reach before it is registered."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TypeVar

from google.protobuf.message import Message

from valetkey import connector_type_values, convert, enums_and_times, values
from valetkey.calls.base import Asking, ask
from valetkey.errors import InvalidArgumentError
from valetkey.v1 import common_pb2 as common_pb
from valetkey.v1 import connector_service_pb2 as pb

M = TypeVar("M", bound=Message)


def list_connector_types() -> Asking[list[connector_type_values.ConnectorTypeDescription]]:
    """Returns the types of connectors that this broker has, with what each auth method takes."""
    answer = yield from ask(pb.ListConnectorTypesRequest(), pb.ListConnectorTypesResponse, repeatable=True)
    return [convert.connector_type(each) for each in answer.types]


def check_connector(
    name: str,
    *,
    azure: values.AzureConfig,
    secrets: Mapping[str, str] | None = None,
    type: str = "azure",  # noqa: A002 (the API's word)
    auth_method: str = "service-principal",
    resource_type: str | None = None,
    resource_id: str | None = None,
) -> Asking[values.Resources]:
    """Verifies a connector as `create_connector` does, returns what it would reach, and stores nothing."""
    request = candidate(name, azure, secrets or {}, type, auth_method, resource_type, resource_id)
    answer = yield from ask(pb.CheckConnectorRequest(candidate=request), pb.CheckConnectorResponse, repeatable=True)
    return reached(answer)


def candidate(
    name: str,
    azure: values.AzureConfig | None,
    secrets: Mapping[str, str],
    connector_type: str,
    auth_method: str,
    resource_type: str | None,
    resource_id: str | None,
) -> pb.CreateConnectorRequest:
    """Returns what is to be registered, or checked before. Raises InvalidArgumentError for words that are not known.

    Without an auth method, a named secret says it; without a resource type, it is for all of them, or for that of the
    resource.
    """
    method = pb.AUTH_METHOD_UNSPECIFIED
    if auth_method:
        method = enums_and_times.to_number(convert.AUTH_METHOD, auth_method, "auth_method")
    of_type = common_pb.RESOURCE_TYPE_UNSPECIFIED
    if resource_type:
        of_type = enums_and_times.to_number(enums_and_times.RESOURCE_TYPE, resource_type, "resource_type")
    return pb.CreateConnectorRequest(
        name=name,
        type=enums_and_times.to_number(convert.CONNECTOR_TYPE, connector_type, "type"),
        auth_method=method,
        resource_type=of_type,
        resource_id=resource_id or "",
        azure=pb.AzureConfig(**asdict(azure)) if azure is not None else None,
        azure_secret=azure_secret(secrets),
    )


def azure_secret(secrets: Mapping[str, str]) -> pb.AzureSecret:
    """Returns the secrets of an auth method as a message, by the API's names of the fields.

    Raises InvalidArgumentError, without showing any, for one that the API does not know.
    """
    return of_fields(pb.AzureSecret, secrets, "secrets")


def of_fields(kind: type[M], given: Mapping[str, str], what: str) -> M:
    """Returns a message with the fields given, which errors call `what`.

    Raises InvalidArgumentError, without showing any value, for one that the API does not know.
    """
    try:
        return kind(**given)
    except (TypeError, ValueError):
        expected = ", ".join(field.name for field in kind.DESCRIPTOR.fields)
        raise InvalidArgumentError(f"{what}: holds what is not known; expected {expected}") from None


def reached(
    answer: pb.CreateConnectorResponse
    | pb.UpdateConnectorResponse
    | pb.VerifyConnectorResponse
    | pb.CheckConnectorResponse,
) -> values.Resources:
    """Returns what a connector reached while it was verified, and what was checked."""
    return convert.resources(answer.resources, answer.account_errors, answer.left_out, answer.checks)
