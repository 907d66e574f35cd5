"""The calls of GrantService: who may have what."""

from collections.abc import Iterable, Mapping
from datetime import UTC, timedelta

from valetkey import convert, enums_and_times, values
from valetkey.calls.base import Asking, ask, ask_pages, several
from valetkey.v1 import grant_service_pb2 as grant_pb


def create_grant(name: str, spec: values.GrantSpec) -> Asking[values.Grant]:
    """Stores a new grant; each connector in it must exist, and that one alone is meant from now on.

    `warnings` of the answer say where it gives more than it seems to, or nothing to anybody.
    """
    request = grant_pb.CreateGrantRequest(grant=_message(name, spec))
    answer = yield from ask(request, grant_pb.CreateGrantResponse)
    return _grant(answer.grant, answer.warnings)


def get_grant(name: str) -> Asking[values.Grant]:
    """Returns one grant."""
    return _grant(
        (yield from ask(grant_pb.GetGrantRequest(name=name), grant_pb.GetGrantResponse, repeatable=True)).grant
    )


def list_grants(*, limit: int | None = None) -> Asking[list[values.Grant]]:
    """Returns grants by name, at most `limit`; left out, all there are."""
    request = grant_pb.ListGrantsRequest()
    return (yield from ask_pages(request, grant_pb.ListGrantsResponse, lambda page: map(_grant, page.grants), limit))


def update_grant(name: str, spec: values.GrantSpec, *, version: int) -> Asking[values.Grant]:
    """Replaces a grant if it still has the `version` that was read.

    Raises ConflictError where somebody else changed it in between: read it again.
    """
    request = grant_pb.UpdateGrantRequest(grant=_message(name, spec, version))
    answer = yield from ask(request, grant_pb.UpdateGrantResponse)
    return _grant(answer.grant, answer.warnings)


def delete_grant(name: str) -> Asking[None]:
    """Deletes a grant; streams that lived by it end within seconds, tokens at their own expiry."""
    yield from ask(grant_pb.DeleteGrantRequest(name=name), grant_pb.DeleteGrantResponse)


def explain_access(
    resource: str,
    permissions: Iterable[str],
    *,
    principal: str | None = None,
    attributes: Mapping[str, str] | None = None,
    connector: str | None = None,
    ttl: timedelta | None = None,
    source_ip: str | None = None,
) -> Asking[values.AccessExplanation]:
    """Says whether a request would be allowed, and why or why not; issues nothing.

    `principal` left out is the caller, with its own attributes; for others the caller needs a role.
    """
    request = grant_pb.ExplainAccessRequest(
        principal=principal or "",
        attributes=attributes or {},
        resource_id=resource,
        permissions=enums_and_times.to_permissions(permissions),
        connector=connector or "",
        source_ip=source_ip or "",
    )
    if ttl is not None:
        request.ttl.CopyFrom(enums_and_times.to_duration(ttl, "ttl"))
    answer = yield from ask(request, grant_pb.ExplainAccessResponse, repeatable=True)
    return values.AccessExplanation(
        allowed=answer.allowed,
        grant=answer.grant,
        findings=tuple(
            values.GrantFinding(finding.grant, finding.allows, tuple(finding.reasons)) for finding in answer.findings
        ),
        nearest=answer.nearest,
        ttl=enums_and_times.span(answer, "ttl"),
        ttl_limited_by=enums_and_times.to_word(enums_and_times.TTL_LIMIT, answer.ttl_limited_by),
        source_ip=answer.source_ip,
        error_message=answer.error_message,
        scope=answer.scope,
        caller_problem=answer.caller_problem,
    )


def _message(name: str, spec: values.GrantSpec, version: int = 0) -> grant_pb.Grant:
    message = grant_pb.Grant(
        name=name,
        principals=several(spec.principals, "principals", '("key:trainer",)'),
        attributes=spec.attributes,
        connectors=[
            grant_pb.GrantedConnector(name=connector)
            if isinstance(connector, str)
            else grant_pb.GrantedConnector(name=connector.name, uid=connector.uid)
            for connector in several(spec.connectors, "connectors", '("azure-blob-demo",)')
        ],
        containers=several(spec.containers, "containers", '("models",)'),
        prefixes=several(spec.prefixes, "prefixes", '("runs/a",)'),
        permissions=enums_and_times.to_permissions(spec.permissions),
        source_ip=spec.source_ip,
        note=spec.note,
        labels=spec.labels,
        version=version,
    )
    if spec.consumer_role:
        message.consumer_role = enums_and_times.to_number(convert.CONSUMER_ROLE, spec.consumer_role, "consumer_role")
    if spec.max_ttl is not None:
        message.max_ttl.CopyFrom(enums_and_times.to_duration(spec.max_ttl, "max_ttl"))
    if spec.expire_time is not None:
        message.expire_time.CopyFrom(enums_and_times.to_timestamp(spec.expire_time, "expire_time"))
    return message


def _grant(message: grant_pb.Grant, warnings: Iterable[str] = ()) -> values.Grant:
    return values.Grant(
        name=message.name,
        principals=tuple(message.principals),
        attributes=dict(message.attributes),
        connectors=tuple(values.GrantedConnector(connector.name, connector.uid) for connector in message.connectors),
        containers=tuple(message.containers),
        prefixes=tuple(message.prefixes),
        permissions=enums_and_times.permissions(message.permissions),
        consumer_role=enums_and_times.to_word(convert.CONSUMER_ROLE, message.consumer_role),
        max_ttl=enums_and_times.span(message, "max_ttl"),
        source_ip=message.source_ip,
        expire_time=enums_and_times.moment(message, "expire_time"),
        note=message.note,
        labels=dict(message.labels),
        version=message.version,
        uid=message.meta.uid,
        create_time=message.meta.create_time.ToDatetime(UTC),
        created_by=message.meta.created_by,
        warnings=tuple(warnings),
    )
