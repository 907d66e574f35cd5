"""The calls of CredentialService: another credential for what is in use. A credential goes in, and none comes out.

`holder` says whose it is: a `connector`'s or a named `secret`'s.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from valetkey import convert, enums_and_times, values
from valetkey.calls.base import Asking, ask, several
from valetkey.calls.connector_types import azure_secret, of_fields
from valetkey.rotation_values import CredentialVersion, Rotation, RotationSchedule
from valetkey.v1 import connector_service_pb2 as connector_pb
from valetkey.v1 import credential_service_pb2 as pb

_HOLDER = (pb.CredentialHolder, "CREDENTIAL_HOLDER_")
_STATE = (pb.RotationState, "ROTATION_STATE_")


def rotate_credential(
    name: str,
    *,
    holder: str = "connector",
    auth_method: str | None = None,
    azure: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    expire_time: datetime | None = None,
    remove: Iterable[str] = (),
    prove_for: timedelta | None = None,
) -> Asking[Rotation]:
    """Begins a rotation to a credential and returns at once; `get_rotation` tells how it goes on.

    `secrets` are the new credential as a whole, by the API's names; `azure` holds fields of AzureConfig that change
    with it. `prove_for` is how long it is tried until it works: 5 minutes if left out. Raises
    FailedPreconditionError where a rotation is under way.
    """
    request = pb.RotateCredentialRequest(
        name=name,
        holder=_holder(holder),
        azure=of_fields(connector_pb.AzureConfig, azure, "azure") if azure else None,
        azure_secret=azure_secret(secrets) if secrets else None,
        expire_time=enums_and_times.given_timestamp(expire_time, "expire_time"),
        remove_fields=several(remove, "remove", '("storage_account",)'),
        prove_for=enums_and_times.given_duration(prove_for, "prove_for"),
    )
    if auth_method:
        request.auth_method = enums_and_times.to_number(convert.AUTH_METHOD, auth_method, "auth_method")
    return _rotation((yield from ask(request, pb.RotateCredentialResponse)).rotation)


def rotate_by_itself(
    name: str, *, holder: str = "connector", by: str = "", at_once: bool = False, prove_for: timedelta | None = None
) -> Asking[Rotation]:
    """Begins a rotation to a credential that the broker has made, and returns at once.

    That is a secret of the service principal, by its own rights or those of the connector `by`; or the account's other
    key, by those of `by`: with `at_once` the old key is regenerated without waiting for the end of what it signed.
    Raises PermissionDeniedError or FailedPreconditionError, with what to grant, where Azure does not let it.
    """
    proving = enums_and_times.given_duration(prove_for, "prove_for")
    request = pb.RotateCredentialRequest(
        name=name, holder=_holder(holder), auto=True, by=by, at_once=at_once, prove_for=proving
    )
    return _rotation((yield from ask(request, pb.RotateCredentialResponse)).rotation)


def set_rotation_schedule(name: str, schedule: RotationSchedule | None) -> Asking[values.Connector]:
    """Sets how often the credential of a connector is rotated by itself; None ends that. Returns the connector.

    Refused where `rotate_by_itself` would be.
    """
    return convert.connector((yield from scheduled(name, "connector", schedule)).connector)


def scheduled(name: str, holder: str, schedule: RotationSchedule | None) -> Asking[pb.SetRotationScheduleResponse]:
    """Sets the schedule of a `connector` or a `secret`; returns the broker's answer, which has one of the two."""
    given = None
    if schedule is not None:
        every = enums_and_times.given_duration(schedule.every, "every")
        given = connector_pb.RotationSchedule(every=every, by=schedule.by)
    request = pb.SetRotationScheduleRequest(name=name, schedule=given, holder=_holder(holder))
    return (yield from ask(request, pb.SetRotationScheduleResponse))


def get_rotation(name: str, *, holder: str = "connector") -> Asking[Rotation]:
    """Returns the rotation that is under way, or the last one. Raises NotFoundError where there was none."""
    request = pb.GetRotationRequest(name=name, holder=_holder(holder))
    return _rotation((yield from ask(request, pb.GetRotationResponse, repeatable=True)).rotation)


def abort_rotation(name: str, *, holder: str = "connector") -> Asking[Rotation]:
    """Has a rotation taken back that has not come to the switch, and returns it."""
    request = pb.AbortRotationRequest(name=name, holder=_holder(holder))
    return _rotation((yield from ask(request, pb.AbortRotationResponse)).rotation)


def rollback_credential(
    name: str, *, holder: str = "connector", version: int = 0, prove_for: timedelta | None = None
) -> Asking[Rotation]:
    """Begins a rotation back to the credential before, or to `version`, and returns at once."""
    request = pb.RollbackCredentialRequest(
        name=name,
        holder=_holder(holder),
        version=version,
        prove_for=enums_and_times.given_duration(prove_for, "prove_for"),
    )
    return _rotation((yield from ask(request, pb.RollbackCredentialResponse)).rotation)


def list_credential_versions(name: str, *, holder: str = "connector") -> Asking[list[CredentialVersion]]:
    """Returns the versions of a credential that are kept, newest first."""
    request = pb.ListCredentialVersionsRequest(name=name, holder=_holder(holder))
    answer = yield from ask(request, pb.ListCredentialVersionsResponse, repeatable=True)
    return [_version(each) for each in answer.versions]


def _holder(word: str) -> Any:
    return enums_and_times.to_number(_HOLDER, word, "holder")


def _rotation(message: pb.Rotation) -> Rotation:
    return Rotation(
        id=message.id,
        name=message.name,
        holder=enums_and_times.to_word(_HOLDER, message.holder),
        source=message.source,
        state=enums_and_times.to_word(_STATE, message.state),
        start_time=message.start_time.ToDatetime(UTC),
        started_by=message.started_by,
        update_time=message.update_time.ToDatetime(UTC),
        auth_method=enums_and_times.to_word(convert.AUTH_METHOD, message.auth_method),
        from_version=message.from_version,
        to_version=message.to_version,
        tries=message.tries,
        prove_for=message.prove_for.ToTimedelta(),
        spent=message.spent.ToTimedelta(),
        reason=message.reason,
        message=message.message,
        wait_until=_moment(message, "wait_until"),
        connectors=tuple(message.connectors),
    )


def _version(message: pb.CredentialVersion) -> CredentialVersion:
    return CredentialVersion(
        version=message.version,
        in_use=message.in_use,
        auth_method=enums_and_times.to_word(convert.AUTH_METHOD, message.auth_method),
        since=_moment(message, "since"),
        given_by=message.given_by,
        rotation=message.rotation,
        expire_time=_moment(message, "expire_time"),
        taken_from=message.taken_from,
    )


def _moment(message: Any, field: str) -> datetime | None:
    when: datetime | None = getattr(message, field).ToDatetime(UTC) if message.HasField(field) else None
    return when
