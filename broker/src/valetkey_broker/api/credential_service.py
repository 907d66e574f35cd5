"""CredentialService: message to domain, one use case, domain to message. No credential ever goes into an answer."""

from datetime import UTC, datetime
from typing import Any

import grpc.aio

from valetkey.v1 import credential_service_pb2 as pb
from valetkey.v1 import credential_service_pb2_grpc
from valetkey_broker.api.convert import (
    AUTH_METHODS,
    connector_message,
    given_instant,
    given_seconds,
    given_secrets,
    secret_message,
    timestamp,
)
from valetkey_broker.connectors.credential_versions import CredentialVersion
from valetkey_broker.connectors.made_credential_rotations import Automatic, MadeCredentialRotations
from valetkey_broker.connectors.rotation_admin import Rotations, Wanted
from valetkey_broker.connectors.rotation_schedule import RotationSchedules
from valetkey_broker.model import Connector, InvalidFieldError, Rotation, RotationSchedule, RotationState
from valetkey_broker.rpc.current_call import call_info, caller

_FOLDERS = {pb.CREDENTIAL_HOLDER_CONNECTOR: "connectors", pb.CREDENTIAL_HOLDER_SECRET: "secrets"}
_HOLDERS = {folder: holder for holder, folder in _FOLDERS.items()}
_MOST_CONNECTORS = 1_000


class CredentialService(credential_service_pb2_grpc.CredentialServiceServicer):
    """Rotates credentials."""

    def __init__(self, rotations: Rotations, automatic: MadeCredentialRotations, schedules: RotationSchedules) -> None:
        self._rotations = rotations
        self._automatic = automatic
        self._schedules = schedules

    async def RotateCredential(  # noqa: N802 (gRPC's naming)
        self,
        request: pb.RotateCredentialRequest,
        context: grpc.aio.ServicerContext[pb.RotateCredentialRequest, pb.RotateCredentialResponse],
    ) -> pb.RotateCredentialResponse:
        """Begins a rotation."""
        _ = context
        if request.auto:
            return pb.RotateCredentialResponse(rotation=self._message(await self._by_itself(request)))
        if request.by or request.at_once:
            raise InvalidFieldError("auto", "is not set", "it, beside by or at_once")
        wanted = Wanted(
            auth_method=AUTH_METHODS.read(request.auth_method) if request.auth_method else "",
            azure={field.name: value for field, value in request.azure.ListFields()},
            secrets=given_secrets(request.azure_secret),
            expires_at=given_instant(request, "expire_time"),
            remove=request.remove_fields,
            prove_seconds=given_seconds(request, "prove_for"),
        )
        rotation = await self._rotations.rotate(_object(request), wanted, call_info())
        return pb.RotateCredentialResponse(rotation=self._message(rotation))

    async def _by_itself(self, request: pb.RotateCredentialRequest) -> Rotation:
        for given in ("auth_method", "azure", "azure_secret", "expire_time", "remove_fields"):
            if any(field.name == given for field, _ in request.ListFields()):
                raise InvalidFieldError(given, "is given beside auto", "one or the other")
        prove_seconds = given_seconds(request, "prove_for")
        wanted = Automatic(by=request.by, at_once=request.at_once, prove_seconds=prove_seconds)
        return await self._automatic.rotate(_object(request), wanted, call_info())

    async def SetRotationSchedule(  # noqa: N802
        self,
        request: pb.SetRotationScheduleRequest,
        context: grpc.aio.ServicerContext[pb.SetRotationScheduleRequest, pb.SetRotationScheduleResponse],
    ) -> pb.SetRotationScheduleResponse:
        """Sets how often a credential is rotated by itself."""
        _ = context
        schedule = None
        if request.HasField("schedule"):
            every = given_seconds(request.schedule, "every")
            schedule = RotationSchedule(every or 0, request.schedule.by)
        if not request.holder:  # As clients ask that know of connectors' schedules only.
            request.holder = pb.CREDENTIAL_HOLDER_CONNECTOR
        there = await self._schedules.set(_object(request), schedule)
        if isinstance(there, Connector):
            return pb.SetRotationScheduleResponse(connector=connector_message(there, None))
        users = self._schedules.users(there)
        return pb.SetRotationScheduleResponse(secret=secret_message(there, users, _MOST_CONNECTORS))

    async def GetRotation(  # noqa: N802
        self,
        request: pb.GetRotationRequest,
        context: grpc.aio.ServicerContext[pb.GetRotationRequest, pb.GetRotationResponse],
    ) -> pb.GetRotationResponse:
        """Shows a rotation."""
        _ = context
        return pb.GetRotationResponse(rotation=self._message(await self._rotations.get(_object(request))))

    async def AbortRotation(  # noqa: N802
        self,
        request: pb.AbortRotationRequest,
        context: grpc.aio.ServicerContext[pb.AbortRotationRequest, pb.AbortRotationResponse],
    ) -> pb.AbortRotationResponse:
        """Has a rotation taken back."""
        _ = context
        rotation = await self._rotations.abort(_object(request), caller().name)
        return pb.AbortRotationResponse(rotation=self._message(rotation))

    async def RollbackCredential(  # noqa: N802
        self,
        request: pb.RollbackCredentialRequest,
        context: grpc.aio.ServicerContext[pb.RollbackCredentialRequest, pb.RollbackCredentialResponse],
    ) -> pb.RollbackCredentialResponse:
        """Begins a rotation back."""
        _ = context
        prove_seconds = given_seconds(request, "prove_for")
        rotation = await self._rotations.rollback(_object(request), request.version, prove_seconds, call_info())
        return pb.RollbackCredentialResponse(rotation=self._message(rotation))

    async def ListCredentialVersions(  # noqa: N802
        self,
        request: pb.ListCredentialVersionsRequest,
        context: grpc.aio.ServicerContext[pb.ListCredentialVersionsRequest, pb.ListCredentialVersionsResponse],
    ) -> pb.ListCredentialVersionsResponse:
        """Lists the versions that are kept."""
        _ = context
        versions = self._rotations.versions(_object(request))
        return pb.ListCredentialVersionsResponse(versions=map(_version, versions))

    def _message(self, rotation: Rotation) -> pb.Rotation:
        message = pb.Rotation(
            id=rotation.id,
            name=rotation.name,
            holder=_HOLDERS[rotation.object.partition("/")[0]],
            source=rotation.source,
            state=pb.RotationState.Value(f"ROTATION_STATE_{rotation.state.name}"),
            start_time=timestamp(rotation.started_at),
            started_by=rotation.started_by,
            update_time=timestamp(rotation.updated_at),
            auth_method=AUTH_METHODS.to_proto[rotation.way.auth_method],
            from_version=rotation.from_version,
            to_version=rotation.to_version,
            tries=rotation.tries,
            reason=rotation.reason,
            message=rotation.message,
            connectors=self._rotations.users(rotation)[:_MOST_CONNECTORS],
        )
        message.prove_for.seconds = rotation.prove_seconds
        message.spent.seconds = int(rotation.spent_seconds)
        if rotation.state is RotationState.WAITING:
            message.wait_until.CopyFrom(timestamp(datetime.fromtimestamp(rotation.wait_until, UTC)))
        return message


def _object(request: Any) -> str:
    """Returns the path of what a request is about. Raises InvalidFieldError."""
    folder = _FOLDERS.get(request.holder)
    if folder is None:
        raise InvalidFieldError("holder", "is not given, or not known", "connector, secret")
    return f"{folder}/{request.name}"


def _version(version: CredentialVersion) -> pb.CredentialVersion:
    message = pb.CredentialVersion(
        version=version.version,
        in_use=version.in_use,
        auth_method=AUTH_METHODS.to_proto[version.auth_method],
        given_by=version.given_by,
        rotation=version.rotation,
        taken_from=version.taken_from,
    )
    if version.since is not None:
        message.since.CopyFrom(timestamp(version.since))
    if version.expires_at is not None:
        message.expire_time.CopyFrom(timestamp(version.expires_at))
    return message
