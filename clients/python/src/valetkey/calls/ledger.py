"""The calls of LedgerService: what was decided."""

from collections.abc import Iterable
from datetime import UTC, datetime

from valetkey import convert, enums_and_times, ledger_values
from valetkey.calls.base import PAGE_SIZE, Asking, ask, ask_pages
from valetkey.errors import InvalidArgumentError
from valetkey.sas import Finding
from valetkey.v1 import ledger_service_pb2 as ledger_pb

# The most that one answer holds; the newest come in one answer, for pages lead onwards only.
MOST_NEWEST = 1000
_BEGUN = "change-begun"


def list_leases(
    *,
    include_expired: bool = False,
    principal: str | None = None,
    connector: str | None = None,
    resource: str | None = None,
    limit: int | None = None,
) -> Asking[list[ledger_values.Lease]]:
    """Returns issued tokens, newest first: those that still live, or with `include_expired` all.

    At most `limit`; left out, all there are.
    """
    request = ledger_pb.ListLeasesRequest(
        include_expired=include_expired,
        principal=principal or "",
        connector=connector or "",
        resource_id=resource or "",
    )
    return (yield from ask_pages(request, ledger_pb.ListLeasesResponse, lambda page: map(_lease, page.leases), limit))


def list_events(
    *,
    after_id: int = 0,
    newest: bool = False,
    unfinished: bool = False,
    kind: str | None = None,
    principal: str | None = None,
    connector: str | None = None,
    request_id: str | None = None,
    lease_id: str | None = None,
    resource: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = 100,
) -> Asking[list[ledger_values.Event]]:
    """Returns records in the ledger's order, at most `limit`, None for all that match.

    The first of them after the position `after_id`, or with `newest` the last, of which there can be 1,000.
    `kind` is one of token-issued, denied, authentication-failed, change-begun, admin-change, change-failed,
    change-reconciled, rotation, keys-revoked, revocation-proved, pruned, unknown; `since` is inclusive, `until`
    exclusive. With `unfinished` only changes that were begun and whose outcome is not known, nor was reconciled since:
    the broker died or lost its ledger or Vault meanwhile, or they run right now. `resource` is a container with all in
    it, a blob, or a directory: it is for tokens and refusals, for other kinds name none.
    """
    if unfinished and kind not in (None, _BEGUN):
        raise InvalidArgumentError(f"unfinished: is asked of the kind {kind}; expected {_BEGUN}, or none")
    # Named also where it need not be: a broker that cannot tell what is unfinished does not know this kind either,
    # and says so.
    kind = _BEGUN if unfinished else kind
    request = ledger_pb.ListEventsRequest(
        after_id=after_id,
        newest=newest,
        unfinished=unfinished,
        kind=enums_and_times.to_number(convert.EVENT_KIND, kind, "kind") if kind else ledger_pb.EVENT_KIND_UNSPECIFIED,
        principal=principal or "",
        connector=connector or "",
        request_id=request_id or "",
        lease_id=lease_id or "",
        resource_id=resource or "",
        since=None if since is None else enums_and_times.to_timestamp(since, "since"),
        until=None if until is None else enums_and_times.to_timestamp(until, "until"),
    )
    if newest:
        if limit is None or not 0 < limit <= MOST_NEWEST:
            raise InvalidArgumentError(f"limit: {limit} is out of range; expected 1 to {MOST_NEWEST} of the newest")
        request.page_size = limit
        return [
            _event(message)
            for message in (yield from ask(request, ledger_pb.ListEventsResponse, repeatable=True)).events
        ]
    found: list[ledger_values.Event] = []
    while limit is None or len(found) < limit:
        request.page_size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit - len(found))
        answer = yield from ask(request, ledger_pb.ListEventsResponse, repeatable=True)
        found += map(_event, answer.events)
        if not answer.next_after_id or (request.after_id and answer.next_after_id <= request.after_id):
            break  # 0: nothing more now
        request.after_id = answer.next_after_id
    return found[:limit]


def diagnose_token(
    *,
    lease_id: str = "",
    signature_sha256: bytes = b"",
    expire_time: datetime | None = None,
    url: str = "",
    operation: str | None = None,
) -> Asking[ledger_values.TokenDiagnosis]:
    """Says what the broker knows of a token that would explain a refusal by storage.

    The token is named by its lease, or by the hash of its signature and its end; neither token nor signature is
    sent. `url` is what it was used with, without its query; `operation` is a permission, such as `read`.
    """
    request = ledger_pb.DiagnoseTokenRequest(lease_id=lease_id, signature_sha256=signature_sha256, url=url)
    if expire_time is not None:
        request.expire_time.CopyFrom(enums_and_times.to_timestamp(expire_time, "expire_time"))
    if operation:
        (request.operation,) = enums_and_times.to_permissions((operation,))
    answer = yield from ask(request, ledger_pb.DiagnoseTokenResponse, repeatable=True)
    return ledger_values.TokenDiagnosis(
        lease=_lease(answer.lease) if answer.known else None,
        findings=tuple(Finding(each.cause, each.message, each.mend, each.decides) for each in answer.findings),
        storage_known=answer.storage_known,
    )


def verify_ledger(anchors: Iterable[ledger_values.LedgerHead] = ()) -> Asking[ledger_values.LedgerVerification]:
    """Has the broker check the chains of the whole ledger.

    `anchors` are heads noted earlier, outside the ledger. Without them nothing shows that records were cut off at
    the end, or that the whole ledger was replaced.
    """
    request = ledger_pb.VerifyLedgerRequest(anchors=[_head_message(head) for head in anchors])
    answer = yield from ask(request, ledger_pb.VerifyLedgerResponse, repeatable=True)
    return ledger_values.LedgerVerification(
        intact=answer.intact,
        records=answer.records,
        problem=answer.problem,
        broken_id=answer.broken_id,
        heads=tuple(ledger_values.LedgerHead(head.writer, head.sequence, head.hash.hex()) for head in answer.heads),
    )


def _head_message(head: ledger_values.LedgerHead) -> ledger_pb.LedgerHead:
    try:
        return ledger_pb.LedgerHead(writer=head.writer, sequence=head.sequence, hash=bytes.fromhex(head.hash))
    except (ValueError, TypeError):
        raise InvalidArgumentError(
            f"anchors: {head} is not a head; expected a writer, a sequence and a hash in hex"
        ) from None


def _lease(message: ledger_pb.Lease) -> ledger_values.Lease:
    return ledger_values.Lease(
        id=message.id,
        principal=message.principal,
        connector=message.connector,
        credential_version=message.credential_version,
        resource=message.resource,
        permissions=enums_and_times.permissions(message.permissions),
        issue_time=message.issue_time.ToDatetime(UTC),
        expire_time=message.expire_time.ToDatetime(UTC),
        grant=message.grant,
        purpose=message.purpose,
        state=enums_and_times.to_word(convert.LEASE_STATE, message.state) if message.state else "",
        revocation=message.revocation,
    )


def _event(message: ledger_pb.Event) -> ledger_values.Event:
    return ledger_values.Event(
        id=message.id,
        writer=message.writer,
        sequence=message.sequence,
        time=message.time.ToDatetime(UTC),
        kind=enums_and_times.to_word(convert.EVENT_KIND, message.kind),
        method=message.method,
        request_id=message.request_id,
        principal=message.principal,
        authentication=message.authentication,
        peer=message.peer,
        object=message.object,
        connector=message.connector,
        connector_uid=message.connector_uid,
        credential_version=message.credential_version,
        resource=message.resource,
        permissions=enums_and_times.permissions(message.permissions),
        ttl=enums_and_times.span(message, "ttl"),
        expire_time=enums_and_times.moment(message, "expire_time"),
        lease_id=message.lease_id,
        signature_sha256=message.signature_sha256.hex(),
        grant=message.grant,
        reason=message.reason,
        purpose=message.purpose,
        count=message.count,
        hash=message.hash.hex(),
        details=dict(sorted(message.details.items())),
    )
