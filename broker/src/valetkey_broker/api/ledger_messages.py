"""Records of the ledger as messages.

What somebody wrote into the database besides the broker may be anything that the columns take. It must not end the list
that it stands in: what a message cannot hold is left out or cut, and the check of the chains names the record.
"""

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from valetkey.v1 import ledger_service_pb2 as pb
from valetkey_broker.api.convert import EVENT_KINDS, PERMISSIONS
from valetkey_broker.model import Event, EventKind, Head, Permission, StoredEvent
from valetkey_broker.model.revocation import LeaseState

# Source: google/protobuf/timestamp.proto, duration.proto.
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
_LONGEST_SECONDS = 315_576_000_000
_INT32_MAX = 2**31 - 1
_PERMISSION_NUMBERS = {permission.value: PERMISSIONS.to_proto[permission] for permission in Permission}
_LEASE_STATES = {state: pb.LeaseState.Value(f"LEASE_STATE_{state.name}") for state in LeaseState}


def lease_message(event: Event, state: LeaseState, revocation: str) -> pb.Lease:
    """Returns the lease that an issued token's event describes, and what became of it."""
    return pb.Lease(
        id=event.lease_id,
        principal=event.principal,
        connector=event.connector,
        credential_version=_int32(event.credential_version),
        resource=event.resource,
        permissions=_permissions(event.permissions),
        issue_time=_timestamp(event.time),
        expire_time=_timestamp(event.expires),
        grant=event.grant,
        purpose=event.purpose,
        state=_LEASE_STATES[state],
        revocation=revocation,
    )


def event_message(stored: StoredEvent) -> pb.Event:
    """Returns a record."""
    event = stored.event
    message = pb.Event(
        id=stored.id,
        writer=stored.writer,
        sequence=stored.sequence,
        time=_timestamp(event.time),
        kind=EVENT_KINDS.to_proto[event.kind],
        method=event.method,
        request_id=event.request_id,
        principal=event.principal,
        authentication=event.authentication,
        peer=event.peer,
        object=event.object,
        connector=event.connector,
        connector_uid=event.connector_uid,
        credential_version=_int32(event.credential_version),
        resource=event.resource,
        permissions=_permissions(event.permissions),
        lease_id=event.lease_id,
        signature_sha256=_bytes(event.signature_sha256),
        grant=event.grant,
        reason=event.reason,
        purpose=event.purpose,
        count=_int32(event.count),
        hash=_bytes(stored.hash),
        details=event.details,
    )
    if event.kind is EventKind.TOKEN_ISSUED:
        message.ttl.seconds = min(max(event.ttl, 0), _LONGEST_SECONDS)
        message.expire_time.CopyFrom(_timestamp(event.expires))
    return message


def head_message(head: Head) -> pb.LedgerHead:
    """Returns the last record of a chain."""
    return pb.LedgerHead(writer=head.writer, sequence=head.sequence, hash=_bytes(head.hash))


def _timestamp(seconds: float) -> Timestamp:
    seconds = min(max(seconds, FIRST_SECOND), LAST_SECOND)
    return Timestamp(seconds=int(seconds // 1), nanos=int(seconds % 1 * 1e9))


def _permissions(letters: str) -> list[Any]:
    return [_PERMISSION_NUMBERS[letter] for letter in letters if letter in _PERMISSION_NUMBERS]


def _bytes(hexadecimal: str) -> bytes:
    try:
        return bytes.fromhex(hexadecimal)
    except ValueError:
        return b""


def _int32(number: int) -> int:
    return min(max(number, 0), _INT32_MAX)
