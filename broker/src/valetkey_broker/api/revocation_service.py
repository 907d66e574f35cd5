"""RevocationService: message to domain, one use case, domain to message."""

from datetime import UTC, datetime

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from valetkey.v1 import common_pb2, revocation_service_pb2_grpc
from valetkey.v1 import revocation_service_pb2 as pb
from valetkey.v1.credential_service_pb2 import RotationState
from valetkey_broker.api.convert import timestamp
from valetkey_broker.api.paging import page
from valetkey_broker.model import ResourceId
from valetkey_broker.model.revocation import (
    KeyRevocation,
    KeyRevocationState,
    Revocation,
    RevocationState,
    RevocationTarget,
    SignerKind,
)
from valetkey_broker.ports import Clock
from valetkey_broker.revoking.impact import Signer
from valetkey_broker.revoking.revoker import Asked, Shown
from valetkey_broker.revoking.wiring import Revoking
from valetkey_broker.rpc.current_call import caller

_STATES = {state: pb.RevocationState.Value(f"REVOCATION_STATE_{state.name}") for state in RevocationState}
_KEY_STATES = {state: pb.KeyRevocationState.Value(f"KEY_REVOCATION_STATE_{state.name}") for state in KeyRevocationState}
_KINDS = {
    SignerKind.USER_DELEGATION_KEY: pb.SIGNER_KIND_USER_DELEGATION_KEY,
    SignerKind.ACCOUNT_KEY: pb.SIGNER_KIND_ACCOUNT_KEY,
    SignerKind.UNKNOWN: pb.SIGNER_KIND_UNSPECIFIED,
}


class RevocationService(revocation_service_pb2_grpc.RevocationServiceServicer):
    """Takes access back."""

    def __init__(self, revoking: Revoking, clock: Clock) -> None:
        self._revoker = revoking.revoker
        self._keys = revoking.keys
        self._clock = clock

    async def PreviewRevocation(  # noqa: N802 (gRPC's naming)
        self,
        request: pb.PreviewRevocationRequest,
        context: grpc.aio.ServicerContext[pb.PreviewRevocationRequest, pb.PreviewRevocationResponse],
    ) -> pb.PreviewRevocationResponse:
        """Says what a revocation would do."""
        _ = context
        found = await self._revoker.preview(_asked(request.target), request.through)
        return pb.PreviewRevocationResponse(
            target=_target_message(found.target),
            signers=[_signer_message(signer) for signer in found.hit.signers],
            covered=found.hit.covered,
            covered_until=_moment(found.hit.covered_until),
            in_force=found.in_force,
            incomplete=found.hit.incomplete,
        )

    async def CreateRevocation(  # noqa: N802
        self,
        request: pb.CreateRevocationRequest,
        context: grpc.aio.ServicerContext[pb.CreateRevocationRequest, pb.CreateRevocationResponse],
    ) -> pb.CreateRevocationResponse:
        """Revokes."""
        _ = context
        made = await self._revoker.create(
            request.name,
            _asked(request.target),
            reason=request.reason,
            hard=request.hard,
            through=request.through,
            created_by=caller().name,
        )
        self._keys.begin(request.name)
        return pb.CreateRevocationResponse(revocation=self._message(made))

    async def ListRevocations(  # noqa: N802
        self,
        request: pb.ListRevocationsRequest,
        context: grpc.aio.ServicerContext[pb.ListRevocationsRequest, pb.ListRevocationsResponse],
    ) -> pb.ListRevocationsResponse:
        """Lists revocations by name, or shows one."""
        _ = context
        if request.name:
            return pb.ListRevocationsResponse(revocations=[self._message(await self._revoker.get(request.name))])
        known = self._revoker.all(lifted=request.include_lifted)
        wanted, token = page(known, lambda each: each.name, request.page_size, request.page_token)
        shown = await self._revoker.shown(wanted)
        return pb.ListRevocationsResponse(revocations=[self._message(each) for each in shown], next_page_token=token)

    async def LiftRevocation(  # noqa: N802
        self,
        request: pb.LiftRevocationRequest,
        context: grpc.aio.ServicerContext[pb.LiftRevocationRequest, pb.LiftRevocationResponse],
    ) -> pb.LiftRevocationResponse:
        """Lets tokens be issued again."""
        _ = context
        lifted = await self._revoker.lift(request.name, lifted_by=caller().name)
        return pb.LiftRevocationResponse(revocation=self._message(lifted))

    def _message(self, shown: Shown) -> pb.Revocation:
        revocation = shown.revocation
        message = pb.Revocation(
            name=revocation.name,
            target=_target_message(revocation.target),
            reason=revocation.reason,
            hard=revocation.hard,
            state=_STATES[shown.state],
            meta=common_pb2.ObjectMeta(create_time=timestamp(revocation.created_at), created_by=revocation.created_by),
            covered=revocation.covered,
            covered_until=_moment(shown.until),
            keys=[self._keys_message(revocation, keys) for keys in revocation.keys],
            lifted_by=revocation.lifted_by,
        )
        if revocation.lifted_at is not None:
            message.lift_time.CopyFrom(timestamp(revocation.lifted_at))
        return message

    def _keys_message(self, revocation: Revocation, keys: KeyRevocation) -> pb.KeyRevocation:
        rotation = self._revoker.rotation(keys)
        return pb.KeyRevocation(
            account=keys.account,
            connector=keys.through,
            state=_KEY_STATES[revocation.state_of(keys, self._clock())],
            revoke_time=_moment(keys.revoked_at),
            proof_time=_moment(keys.proved_at),
            covered=keys.covered,
            others=keys.others,
            hits_incomplete=keys.at_least,
            error=keys.error,
            kind=_KINDS[keys.kind],
            rotates=keys.rotates,
            rotation_state=RotationState.Value(f"ROTATION_STATE_{rotation.state.name if rotation else 'UNSPECIFIED'}"),
        )


def _asked(target: pb.RevocationTarget) -> Asked:
    return Asked(
        lease_id=target.lease_id,
        principal=target.principal,
        grant=target.grant,
        connector=target.connector,
        resource_id=target.resource_id,
    )


def _target_message(target: RevocationTarget) -> pb.RevocationTarget:
    return pb.RevocationTarget(
        lease_id=target.lease_id,
        principal=target.principal,
        grant=target.grant,
        connector=target.connector,
        resource_id=_resource(target.resource),
    )


def _resource(resource: ResourceId | None) -> str:
    return str(resource) if resource is not None else ""


def _signer_message(signer: Signer) -> pb.RevokedSigner:
    return pb.RevokedSigner(
        account=signer.account,
        kind=_KINDS[signer.kind],
        connectors=signer.connectors,
        covered=signer.covered,
        covered_until=_moment(signer.covered_until),
        others=signer.others,
        other_principals=signer.other_principals,
        others_until=_moment(signer.others_until),
        others_incomplete=signer.more,
        obstacle=signer.obstacle,
        rotates=[each.path for each in signer.holders],
        by=signer.by,
    )


def _moment(seconds: int) -> Timestamp | None:
    return timestamp(datetime.fromtimestamp(seconds, UTC)) if seconds else None
