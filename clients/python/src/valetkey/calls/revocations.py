"""The calls of RevocationService: taking access back."""

import secrets
from datetime import UTC

from valetkey import enums_and_times, revocation_values
from valetkey.calls.base import Asking, ask, ask_pages
from valetkey.v1 import credential_service_pb2 as credential_pb
from valetkey.v1 import revocation_service_pb2 as pb

_STATE = (pb.RevocationState, "REVOCATION_STATE_")
_KEY_STATE = (pb.KeyRevocationState, "KEY_REVOCATION_STATE_")
_ROTATION_STATE = (credential_pb.RotationState, "ROTATION_STATE_")
_KIND = (pb.SignerKind, "SIGNER_KIND_")


def new_revocation_name() -> str:
    """Returns an id for a revocation that nobody else has."""
    return f"r-{secrets.token_hex(6)}"


def preview_revocation(
    target: revocation_values.RevocationTarget, *, through: str | None = None
) -> Asking[revocation_values.RevocationPreview]:
    """Says what a revocation would cover, and whom else `hard` would hit, by way of `through`. Changes nothing."""
    request = pb.PreviewRevocationRequest(target=_message(target), through=through or "")
    answer = yield from ask(request, pb.PreviewRevocationResponse, repeatable=True)
    return revocation_values.RevocationPreview(
        target=_target(answer.target),
        signers=tuple(map(_signer, answer.signers)),
        covered=answer.covered,
        covered_until=enums_and_times.moment(answer, "covered_until"),
        in_force=tuple(answer.in_force),
        incomplete=answer.incomplete,
    )


def create_revocation(
    target: revocation_values.RevocationTarget,
    *,
    reason: str = "",
    hard: bool = False,
    through: str | None = None,
    name: str | None = None,
) -> Asking[revocation_values.Revocation]:
    """Revokes: streams end, and further tokens are refused until it is lifted. All that the target gives has to fit.

    Tokens that are out are waited for; or with `hard` ended by their keys, and with them all that were signed with the
    same keys, by anybody: revoked where they are user delegation keys, and rotated where it is the account's own.
    `through` is the connector by which Azure is asked, `name` an id of the caller's own.
    """
    request = pb.CreateRevocationRequest(
        name=name or new_revocation_name(),
        target=_message(target),
        reason=reason,
        hard=hard,
        through=through or "",
    )
    # Under its own name it can be asked for twice.
    answer = yield from ask(request, pb.CreateRevocationResponse, repeatable=True)
    return _revocation(answer.revocation)


def get_revocation(name: str) -> Asking[revocation_values.Revocation]:
    """Returns one revocation as it is now."""
    request = pb.ListRevocationsRequest(name=name)
    answer = yield from ask(request, pb.ListRevocationsResponse, repeatable=True)
    return _revocation(answer.revocations[0])


def list_revocations(*, include_lifted: bool = False) -> Asking[list[revocation_values.Revocation]]:
    """Returns the revocations in force, or all there ever were, the newest first."""
    request = pb.ListRevocationsRequest(include_lifted=include_lifted)
    found = yield from ask_pages(request, pb.ListRevocationsResponse, lambda page: map(_revocation, page.revocations))
    return sorted(found, key=lambda each: each.create_time, reverse=True)


def lift_revocation(name: str) -> Asking[revocation_values.Revocation]:
    """Lets tokens be issued again. Tokens whose keys were revoked stay dead."""
    answer = yield from ask(pb.LiftRevocationRequest(name=name), pb.LiftRevocationResponse)
    return _revocation(answer.revocation)


def _message(target: revocation_values.RevocationTarget) -> pb.RevocationTarget:
    return pb.RevocationTarget(
        lease_id=target.lease_id,
        principal=target.principal,
        grant=target.grant,
        connector=target.connector,
        resource_id=target.resource,
    )


def _target(message: pb.RevocationTarget) -> revocation_values.RevocationTarget:
    return revocation_values.RevocationTarget(
        lease_id=message.lease_id,
        principal=message.principal,
        grant=message.grant,
        connector=message.connector,
        resource=message.resource_id,
    )


def _signer(message: pb.RevokedSigner) -> revocation_values.RevokedSigner:
    return revocation_values.RevokedSigner(
        account=message.account,
        kind=enums_and_times.to_word(_KIND, message.kind),
        connectors=tuple(message.connectors),
        covered=message.covered,
        covered_until=enums_and_times.moment(message, "covered_until"),
        others=message.others,
        other_principals=tuple(message.other_principals),
        others_until=enums_and_times.moment(message, "others_until"),
        others_incomplete=message.others_incomplete,
        obstacle=message.obstacle,
        rotates=tuple(message.rotates),
        by=message.by,
    )


def _revocation(message: pb.Revocation) -> revocation_values.Revocation:
    return revocation_values.Revocation(
        name=message.name,
        target=_target(message.target),
        reason=message.reason,
        hard=message.hard,
        state=enums_and_times.to_word(_STATE, message.state),
        create_time=message.meta.create_time.ToDatetime(UTC),
        created_by=message.meta.created_by,
        covered=message.covered,
        covered_until=enums_and_times.moment(message, "covered_until"),
        keys=tuple(map(_keys, message.keys)),
        lift_time=enums_and_times.moment(message, "lift_time"),
        lifted_by=message.lifted_by,
    )


def _keys(message: pb.KeyRevocation) -> revocation_values.KeyRevocation:
    return revocation_values.KeyRevocation(
        account=message.account,
        connector=message.connector,
        state=enums_and_times.to_word(_KEY_STATE, message.state),
        revoke_time=enums_and_times.moment(message, "revoke_time"),
        proof_time=enums_and_times.moment(message, "proof_time"),
        covered=message.covered,
        others=message.others,
        error=message.error,
        kind=enums_and_times.to_word(_KIND, message.kind),
        rotates=message.rotates,
        rotation_state=enums_and_times.to_word(_ROTATION_STATE, message.rotation_state)
        if message.rotation_state
        else "",
        hits_incomplete=message.hits_incomplete,
    )
