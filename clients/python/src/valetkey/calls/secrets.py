"""The calls of SecretService: credentials that connectors share. A value goes in, and none comes out."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime

from valetkey import convert, enums_and_times, named_secret_values, values
from valetkey.calls.base import Asking, ask, ask_pages, several
from valetkey.calls.connector_types import azure_secret
from valetkey.calls.credentials import scheduled
from valetkey.rotation_values import RotationSchedule, schedule_of
from valetkey.v1 import connector_service_pb2 as connector_pb
from valetkey.v1 import secret_service_pb2 as pb


def create_secret(
    name: str,
    *,
    azure: values.AzureConfig,
    secrets: Mapping[str, str],
    type: str = "azure",  # noqa: A002 (the API's word)
    auth_method: str = "service-principal",
    verify: bool = False,
    expire_time: datetime | None = None,
) -> Asking[named_secret_values.NamedSecret]:
    """Stores a secret for connectors to use. `secrets` are by the API's names of the fields.

    `expire_time` is when the value ends. With `verify` the broker logs in with it first. Raises InvalidArgumentError
    for a field that is not known.
    """
    request = pb.CreateSecretRequest(
        name=name,
        type=enums_and_times.to_number(convert.CONNECTOR_TYPE, type, "type"),
        auth_method=enums_and_times.to_number(convert.AUTH_METHOD, auth_method, "auth_method"),
        azure=connector_pb.AzureConfig(**asdict(azure)),
        azure_secret=azure_secret(secrets),
        verify=verify,
        expire_time=enums_and_times.given_timestamp(expire_time, "expire_time"),
    )
    return _secret((yield from ask(request, pb.CreateSecretResponse)).secret)


def get_secret(name: str) -> Asking[named_secret_values.NamedSecret]:
    """Returns what may be told of one secret, and which connectors use it."""
    answer = yield from ask(pb.GetSecretRequest(name=name), pb.GetSecretResponse, repeatable=True)
    return _secret(answer.secret)


def list_secrets() -> Asking[list[named_secret_values.NamedSecret]]:
    """Returns all secrets, by name."""
    request = pb.ListSecretsRequest()
    return (yield from ask_pages(request, pb.ListSecretsResponse, lambda page: map(_secret, page.secrets)))


def update_secret(
    name: str,
    *,
    azure: values.AzureConfig | None = None,
    secrets: Mapping[str, str] | None = None,
    auth_method: str | None = None,
    remove: Iterable[str] = (),
    verify: bool = True,
    expire_time: datetime | None = None,
) -> Asking[named_secret_values.UpdatedSecret]:
    """Gives a secret another value, for every connector that uses it; what is not given stays.

    Every one of them is verified with it first, unless `verify` is false; where one fails, nothing is changed.
    `remove` names fields of `azure` to take away. Without `expire_time`, no end of a new value is known.
    """
    request = pb.UpdateSecretRequest(
        name=name,
        azure=connector_pb.AzureConfig(**asdict(azure)) if azure is not None else None,
        azure_secret=azure_secret(secrets or {}),
        remove_fields=several(remove, "remove", "['storage_account']"),
        no_verify=not verify,
        expire_time=enums_and_times.given_timestamp(expire_time, "expire_time"),
    )
    if auth_method:
        request.auth_method = enums_and_times.to_number(convert.AUTH_METHOD, auth_method, "auth_method")
    answer = yield from ask(request, pb.UpdateSecretResponse)
    return named_secret_values.UpdatedSecret(_secret(answer.secret), tuple(answer.verified))


def rename_secret(name: str, new_name: str) -> Asking[named_secret_values.NamedSecret]:
    """Gives a secret another name; the connectors that use it go on using it."""
    request = pb.RenameSecretRequest(name=name, new_name=new_name)
    return _secret((yield from ask(request, pb.RenameSecretResponse)).secret)


def delete_secret(name: str) -> Asking[None]:
    """Deletes a secret for good; the broker refuses that while connectors use it."""
    yield from ask(pb.DeleteSecretRequest(name=name), pb.DeleteSecretResponse)


def set_secret_rotation_schedule(
    name: str, schedule: RotationSchedule | None
) -> Asking[named_secret_values.NamedSecret]:
    """Sets how often a secret is rotated by itself, for all that use it; None ends that. Returns the secret.

    Refused where `rotate_by_itself` would be.
    """
    return _secret((yield from scheduled(name, "secret", schedule)).secret)


def _secret(message: pb.NamedSecret) -> named_secret_values.NamedSecret:
    return named_secret_values.NamedSecret(
        name=message.name,
        type=enums_and_times.to_word(convert.CONNECTOR_TYPE, message.type),
        auth_method=enums_and_times.to_word(convert.AUTH_METHOD, message.auth_method),
        azure=convert.azure_config(message.azure),
        secret_fields=tuple(message.secret_fields),
        credential_version=message.credential_version,
        uid=message.meta.uid,
        create_time=message.meta.create_time.ToDatetime(UTC),
        created_by=message.meta.created_by,
        update_time=message.update_time.ToDatetime(UTC),
        updated_by=message.updated_by,
        connectors=tuple(message.connectors),
        connector_count=message.connector_count,
        expire_time=enums_and_times.moment(message, "expire_time"),
        rotation_schedule=schedule_of(message.rotation_schedule),
    )
