"""The calls of ConnectorService: named ways into a cloud account."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from valetkey import convert, enums_and_times, values
from valetkey.calls.base import Asking, ask, ask_pages, several
from valetkey.calls.connector_types import azure_secret, candidate, of_fields, reached
from valetkey.v1 import connector_service_pb2 as connector_pb


def create_connector(
    name: str,
    *,
    azure: values.AzureConfig | None = None,
    client_secret: str = "",
    secrets: Mapping[str, str] | None = None,
    type: str = "azure",  # noqa: A002 (the API's word)
    auth_method: str | None = None,
    authentication_secret: str = "",
    resource_type: str | None = None,
    resource_id: str | None = None,
    description: str = "",
    labels: Mapping[str, str] | None = None,
    expire_time: datetime | None = None,
    expires_skew_tolerance: timedelta | None = None,
    verify: bool = True,
    probe_write: bool = False,
) -> Asking[values.CreatedConnector]:
    """Verifies and stores a connector; stores nothing where verification fails.

    What is secret of the auth method is in `secrets`, by the API's names of the fields; for a service principal
    `client_secret` is short for it. Or else `authentication_secret` names a secret to use, which says the auth
    method and most of `azure`; without either, the auth method is `service-principal`. `resource_type` is the one
    type of resources it shall serve, `resource_id` the one resource, which says its type too; without either, it
    serves all types, and all it reaches. `expire_time` is when the credential ends, which counts as ended
    `expires_skew_tolerance` earlier; nothing is refused because of it. Without `verify` it is stored untried; with
    `probe_write` tokens are used too, as `verify_connector` does. Raises InvalidArgumentError for a secret that the
    API does not know.
    """
    given = {"client_secret": client_secret} if client_secret else {}
    method = auth_method or ("" if authentication_secret else "service-principal")
    given |= secrets or {}
    request = candidate(name, azure, given, type, method, resource_type, resource_id)
    notes = connector_pb.CreateConnectorRequest(
        description=description,
        labels=labels,
        expire_time=enums_and_times.given_timestamp(expire_time, "expire_time"),
        expires_skew_tolerance=enums_and_times.given_duration(expires_skew_tolerance, "expires_skew_tolerance"),
        no_verify=not verify,
        probe_write=probe_write,
        authentication_secret=authentication_secret,
    )
    request.MergeFrom(notes)
    answer = yield from ask(request, connector_pb.CreateConnectorResponse)
    return _created(answer)


def get_connector(name: str) -> Asking[values.Connector]:
    """Returns one connector."""
    answer = yield from ask(
        connector_pb.GetConnectorRequest(name=name), connector_pb.GetConnectorResponse, repeatable=True
    )
    return convert.connector(answer.connector)


def list_connectors(
    *,
    type: str | None = None,  # noqa: A002 (the API's word)
    auth_method: str | None = None,
    resource_type: str | None = None,
    labels: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> Asking[list[values.Connector]]:
    """Returns connectors, by name, or those only that are of a kind and have all of some labels; at most `limit`.

    A label with an empty value stands for any value.
    """
    request = connector_pb.ListConnectorsRequest(labels=labels)
    if type:
        request.type = enums_and_times.to_number(convert.CONNECTOR_TYPE, type, "type")
    if auth_method:
        request.auth_method = enums_and_times.to_number(convert.AUTH_METHOD, auth_method, "auth_method")
    if resource_type:
        request.resource_type = enums_and_times.to_number(enums_and_times.RESOURCE_TYPE, resource_type, "resource_type")
    return (
        yield from ask_pages(
            request,
            connector_pb.ListConnectorsResponse,
            lambda page: map(convert.connector, page.connectors),
            limit,
        )
    )


def update_connector(
    name: str,
    *,
    auth_method: str | None = None,
    resource_type: str | None = None,
    resource_id: str | None = None,
    azure: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    description: str = "",
    labels: Mapping[str, str] | None = None,
    expire_time: datetime | None = None,
    expires_skew_tolerance: timedelta | None = None,
    remove: Iterable[str] = (),
    verify: bool = True,
) -> Asking[values.CreatedConnector]:
    """Changes what is given of a connector, and keeps the rest; changes nothing where verification fails.

    `azure` holds fields of AzureConfig by name. `secrets` are a new credential as a whole, by the API's names;
    without `expire_time`, no end of it is known then. `labels` are added or changed. `remove` names fields to take
    away: those of AzureConfig, `resource_type` (it serves all types then), `resource_id`, `description`, `labels` or
    `labels.KEY`, `expire_time`, `expires_skew_tolerance`. It is verified where how or where it leads is touched,
    unless without `verify`. Grants stay; where they would come to mean something else, PermissionDeniedError is raised
    for all but admins. Raises ConflictError where somebody else changed it meanwhile.
    """
    request = connector_pb.UpdateConnectorRequest(
        name=name,
        resource_id=resource_id or "",
        azure=of_fields(connector_pb.AzureConfig, azure, "azure") if azure else None,
        azure_secret=azure_secret(secrets) if secrets else None,
        description=description,
        labels=labels,
        expire_time=enums_and_times.given_timestamp(expire_time, "expire_time"),
        expires_skew_tolerance=enums_and_times.given_duration(expires_skew_tolerance, "expires_skew_tolerance"),
        remove=several(remove, "remove", '("description",)'),
        no_verify=not verify,
    )
    if auth_method:
        request.auth_method = enums_and_times.to_number(convert.AUTH_METHOD, auth_method, "auth_method")
    if resource_type:
        request.resource_type = enums_and_times.to_number(enums_and_times.RESOURCE_TYPE, resource_type, "resource_type")
    answer = yield from ask(request, connector_pb.UpdateConnectorResponse)
    return _created(answer)


def delete_connector(name: str) -> Asking[None]:
    """Deletes a connector and every version of its credential."""
    yield from ask(connector_pb.DeleteConnectorRequest(name=name), connector_pb.DeleteConnectorResponse)


def verify_connector(
    name: str, *, resource_id: str | None = None, probe_write: bool = False
) -> Asking[values.Resources]:
    """Logs in with a stored connector and returns what it reaches now, proved by a token of a fresh key.

    `resource_id` narrows that to one container. With `probe_write` the broker also writes, reads, lists and
    deletes a blob there, and makes sure that the same token is refused elsewhere. The answer's `checks` tell all
    that was looked at; those of the error do, where verifying fails.
    """
    request = connector_pb.VerifyConnectorRequest(name=name, resource_id=resource_id or "", probe_write=probe_write)
    answer = yield from ask(request, connector_pb.VerifyConnectorResponse, repeatable=not probe_write)
    return reached(answer)


def drop_signing_keys(name: str) -> Asking[datetime]:
    """Has the broker fetch new signing keys, as after their revocation in Azure; tokens that are out stay.

    Returns since when no earlier key signs anything.
    """
    answer = yield from ask(connector_pb.DropSigningKeysRequest(name=name), connector_pb.DropSigningKeysResponse)
    since: datetime = answer.not_before.ToDatetime(UTC)
    return since


def _created(
    answer: connector_pb.CreateConnectorResponse | connector_pb.UpdateConnectorResponse,
) -> values.CreatedConnector:
    return values.CreatedConnector(convert.connector(answer.connector), reached(answer), tuple(answer.warnings))
