"""The library's grants, streams and ledger against a fake broker."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import grpc
import pytest

import valetkey
from support.fake_access import NOW, event, grant, lease
from support.fake_broker import SAS, Failure, FakeBroker, token
from valetkey import Client, GrantedConnector, GrantFinding, GrantSpec, LedgerHead, enums_and_times
from valetkey.cli import option_choices as words
from valetkey.v1 import errors_pb2 as errors_pb
from valetkey.v1 import grant_service_pb2 as grant_pb
from valetkey.v1 import ledger_service_pb2 as ledger_pb
from valetkey.v1 import token_service_pb2 as token_pb

SPEC = GrantSpec(
    principals=["key:trainer", "spiffe://example.org/ml/*"],
    connectors=["azure-blob-demo"],
    containers=["models"],
    prefixes=["runs/a"],
    permissions=["read", "list"],
    attributes={"namespace": "ml-*"},
    max_ttl=timedelta(hours=1),
    source_ip="203.0.113.7",
    expire_time=datetime(2026, 12, 31, tzinfo=UTC),
    note="for the nightly run",
)


def step(number: int) -> token_pb.WatchTokenResponse:
    return token_pb.WatchTokenResponse(
        token=token(token_pb.IssueTokenRequest(resource_id="az://models", permissions=[1]), number)
    )


def end(reason: token_pb.WatchEndReason, message: str = "over") -> token_pb.WatchTokenResponse:
    return token_pb.WatchTokenResponse(end=token_pb.WatchEnd(reason=reason, message=message))


def test_a_grant_travels_whole(client: Client, broker: FakeBroker) -> None:
    """Protects every field of a grant on its way there and back."""
    created = client.create_grant("training", SPEC)
    sent = broker.requests[0].grant
    assert (list(sent.permissions), sent.consumer_role, sent.version) == ([1, 6], 0, 0)
    assert (sent.max_ttl.seconds, dict(sent.attributes)) == (3600, {"namespace": "ml-*"})
    assert [(connector.name, connector.uid) for connector in sent.connectors] == [("azure-blob-demo", "")]
    assert created == client.get_grant("training")
    assert created.connectors == (GrantedConnector("azure-blob-demo", "uid-of-azure-blob-demo"),)
    given = created.spec
    for field in ("principals", "containers", "prefixes", "permissions"):
        assert tuple(getattr(given, field)) == tuple(getattr(SPEC, field))
    for field in ("attributes", "max_ttl", "source_ip", "expire_time", "note"):
        assert getattr(given, field) == getattr(SPEC, field)
    assert (created.version, created.uid, created.created_by) == (1, "uid-of-training", "key:admin")


def test_an_update_keeps_what_it_does_not_change(client: Client, broker: FakeBroker) -> None:
    """Protects read, change, write: the version goes along, and the connector keeps its identity."""
    before = client.create_grant("training", SPEC)
    after = client.update_grant("training", replace(before.spec, note="new"), version=before.version)
    assert after == replace(before, note="new", version=2)
    assert broker.requests[-1].grant.connectors[0].uid == "uid-of-azure-blob-demo"
    with pytest.raises(valetkey.ConflictError) as caught:
        client.update_grant("training", before.spec, version=1)
    assert caught.value.reason == "CONFLICT"


def test_a_role_is_sent_in_place_of_permissions(client: Client, broker: FakeBroker) -> None:
    """Protects "either, or": a grant by role that is read and sent back still says its role alone."""
    made = client.create_grant("serving", replace(SPEC, permissions=(), consumer_role="deployer"))
    assert (made.consumer_role, made.permissions) == ("deployer", ("read", "list"))
    client.update_grant("serving", replace(made.spec, note="x"), version=1)
    for request in broker.requests:
        assert (list(request.grant.permissions), request.grant.consumer_role) == ([], 3)


def test_never_and_no_limit_are_told_from_zero(client: Client, broker: FakeBroker) -> None:
    """Protects a grant without an end, or without a limit, from getting one of zero seconds."""
    made = client.create_grant("g", GrantSpec(principals=["p"], connectors=["c"], containers=["x"]))
    assert (made.max_ttl, made.expire_time) == (None, None)
    assert not broker.requests[0].grant.HasField("max_ttl")
    assert not broker.requests[0].grant.HasField("expire_time")


def test_grants_are_listed_over_pages_and_deleted(client: Client, broker: FakeBroker) -> None:
    """Protects against a list that ends after its first page."""
    broker.grants = {f"g{number}": grant(f"g{number}") for number in range(5)}
    assert [found.name for found in client.list_grants()] == [f"g{number}" for number in range(5)]
    client.delete_grant("g0")
    with pytest.raises(valetkey.NotFoundError) as caught:
        client.get_grant("g0")
    assert caught.value.reason == "GRANT_NOT_FOUND"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"principals": "key:trainer"}, "principals: is one string; expected several, such as"),
        ({"connectors": "demo"}, "connectors: is one string"),
        ({"containers": "models"}, "containers: is one string"),
        ({"prefixes": "a"}, "prefixes: is one string"),
        ({"permissions": "read"}, "permissions: is one string"),
        ({"permissions": ["sing"]}, "permissions: 'sing' is unknown"),
        ({"consumer_role": "king"}, "consumer_role: 'king' is unknown; expected one of orchestrator"),
        ({"expire_time": datetime(2026, 1, 1)}, "expire_time: has no time zone"),  # noqa: DTZ001
    ],
)
def test_a_grant_that_cannot_be_sent(change: dict[str, object], says: str, client: Client, broker: FakeBroker) -> None:
    """Protects against a grant for the letters of a name, and the like."""
    with pytest.raises(valetkey.InvalidArgumentError, match=says):
        client.create_grant("g", replace(SPEC, **change))  # type: ignore[arg-type]
    assert broker.requests == []


def test_an_explanation(client: Client, broker: FakeBroker) -> None:
    """Protects what is asked, and every part of the answer."""
    broker.explanation = grant_pb.ExplainAccessResponse(
        findings=[grant_pb.GrantFinding(grant="training", reasons=["lacks delete", "ended"])], nearest="read, list"
    )
    found = client.explain_access(
        "az://models", ["delete"], principal="key:a", attributes={"namespace": "ml"}, connector="c"
    )
    (request,) = broker.requests
    assert (request.principal, dict(request.attributes), request.resource_id) == (
        "key:a",
        {"namespace": "ml"},
        "az://models",
    )
    assert (list(request.permissions), request.connector) == ([5], "c")
    assert (found.allowed, found.grant, found.nearest) == (False, "", "read, list")
    assert found.findings == (GrantFinding("training", False, ("lacks delete", "ended")),)


def test_leases_over_pages_and_up_to_a_limit(client: Client, broker: FakeBroker) -> None:
    """Protects a list of live tokens from missing some, and a limit from being passed."""
    broker.leases = [*(lease(number) for number in range(5)), lease(9, minutes=-1)]
    assert [found.id for found in client.list_leases()] == [f"lease-{number}" for number in range(5)]
    assert len(client.list_leases(include_expired=True)) == 6
    assert len(client.list_leases(limit=3)) == 3
    client.list_leases(principal="key:a", connector="c", resource="az://models")
    sent = broker.requests[-3]
    assert (sent.principal, sent.connector, sent.resource_id) == ("key:a", "c", "az://models")
    found = client.list_leases(limit=1)[0]
    assert (found.permissions, found.expire_time, found.grant, found.purpose) == (
        ("read", "list"),
        NOW + timedelta(minutes=15),
        "training",
        "nightly run",
    )


def test_events_over_pages_and_up_to_a_limit(client: Client, broker: FakeBroker) -> None:
    """Protects a search from ending early, and its limit and filters from getting lost."""
    broker.events = [event(number) for number in range(1, 8)]
    assert [found.id for found in client.list_events(limit=None)] == list(range(1, 8))
    assert [found.id for found in client.list_events(after_id=2, limit=3)] == [3, 4, 5]
    assert [found.id for found in client.list_events(newest=True, limit=2)] == [6, 7]
    broker.events = [event(number) for number in range(-7, 3) if number]
    assert [found.id for found in client.list_events(limit=None)] == [*range(-7, 0), 1, 2]
    since = datetime(2026, 5, 1, tzinfo=UTC)
    client.list_events(
        kind="denied",
        principal="key:a",
        connector="c",
        request_id="r",
        lease_id="l",
        resource="az://models",
        since=since,
        until=since + timedelta(days=1),
    )
    sent = broker.requests[-1]
    assert (sent.kind, sent.principal, sent.connector, sent.request_id, sent.lease_id) == (2, "key:a", "c", "r", "l")
    assert (sent.since.ToDatetime(UTC), sent.until.ToDatetime(UTC)) == (since, since + timedelta(days=1))
    assert sent.resource_id == "az://models"
    with pytest.raises(valetkey.InvalidArgumentError, match="expected 1 to 1000 of the newest"):
        client.list_events(newest=True, limit=None)
    with pytest.raises(valetkey.InvalidArgumentError, match="kind: 'party' is unknown"):
        client.list_events(kind="party")


def test_an_event_travels_whole(client: Client, broker: FakeBroker) -> None:
    """Protects the fields an auditor reads; what does not apply is not zero but absent."""
    broker.events = [
        event(1, purpose="run 7"),
        event(2, kind=ledger_pb.EVENT_KIND_DENIED, reason="RESOURCE_DENIED", count=9, lease_id="", grant=""),
    ]
    issued, denied = client.list_events()
    assert (issued.kind, issued.ttl, issued.permissions) == ("token-issued", timedelta(minutes=15), ("read", "list"))
    assert (issued.signature_sha256, issued.hash, issued.purpose) == ("0b" * 32, "0a" * 32, "run 7")
    assert (denied.kind, denied.ttl, denied.expire_time, denied.count) == ("denied", None, None, 9)
    assert denied.reason == "RESOURCE_DENIED"


def test_verification_and_its_anchors(client: Client, broker: FakeBroker) -> None:
    """Protects the heads on their way out and, as anchors, back in."""
    found = client.verify_ledger()
    assert (found.intact, found.records) == (True, 7)
    assert found.heads == (LedgerHead("w-1", 7, "0a" * 32),)
    client.verify_ledger(found.heads)
    assert broker.requests[-1].anchors[0] == broker.verification.heads[0]
    for head in (LedgerHead("w", 1, "xy"), LedgerHead("w", 2**70, "0a")):
        with pytest.raises(valetkey.InvalidArgumentError, match=r"anchors: .* is not a head"):
            client.verify_ledger([head])


def test_a_stream_gives_tokens_until_it_ends_with_a_reason(client: Client, broker: FakeBroker) -> None:
    """Protects whoever lives by a stream: each token, then why there are no more."""
    broker.stream = [step(1), step(2), end(token_pb.WATCH_END_REASON_GRANT_GONE, "no grant allows it any more")]
    tokens = client.watch_token("az://models", ["read"], ttl=timedelta(minutes=5), connector="c", purpose="run 7")
    assert [next(tokens).lease_id, next(tokens).sas_token] == ["lease-1", SAS]
    with pytest.raises(valetkey.WatchEndedError, match="no grant allows it any more") as caught:
        next(tokens)
    assert (caught.value.reason, caught.value.final) == ("GRANT_GONE", True)
    sent = broker.requests[0].request
    assert (sent.resource_id, sent.ttl.seconds, sent.connector, sent.purpose) == ("az://models", 300, "c", "run 7")


@pytest.mark.parametrize("reason", [name for name, number in token_pb.WatchEndReason.items() if number])
def test_every_end_has_its_name(reason: str, client: Client, broker: FakeBroker) -> None:
    """Protects programs that tell a restart from a grant that is gone."""
    broker.stream = [end(token_pb.WatchEndReason.Value(reason))]
    with pytest.raises(valetkey.WatchEndedError) as caught:
        next(client.watch_token("az://models", ["read"]))
    assert caught.value.reason == reason.removeprefix("WATCH_END_REASON_")
    final = {"GRANT_GONE", "CONNECTOR_GONE", "IDENTITY_REVOKED", "ACCESS_REVOKED"}
    assert caught.value.final is (caught.value.reason in final)


def test_a_stream_that_is_refused(client: Client, broker: FakeBroker) -> None:
    """Protects the errors of a stream: the same as a single call's."""
    broker.failures["WatchToken"] = Failure(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "too many streams",
        errors_pb.ERROR_REASON_RATE_LIMITED,
        retry_delay=timedelta(seconds=2),
    )
    with pytest.raises(valetkey.UnavailableError, match="too many streams") as caught:
        next(client.watch_token("az://models", ["read"]))
    assert (caught.value.reason, caught.value.retry_delay) == ("RATE_LIMITED", timedelta(seconds=2))
    with pytest.raises(valetkey.InvalidArgumentError, match="is one string"):
        client.watch_token("az://models", "read")


def test_closing_the_iterator_ends_the_stream_at_the_broker(client: Client, broker: FakeBroker) -> None:
    """Protects the broker's cap on streams from those that nobody reads any more."""
    broker.stream = [step(1), 60.0]
    tokens = client.watch_token("az://models", ["read"])
    next(tokens)
    tokens.close()
    deadline = time.monotonic() + 10
    while not broker.streams_ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert broker.streams_ended == 1


def test_purpose_and_grant_of_a_single_token(client: Client, broker: FakeBroker) -> None:
    """Protects the caller's words on their way to the ledger, and the grant's name on its way back."""
    assert client.issue_token("az://models", ["read"], purpose="run 7").grant == "training"
    assert broker.requests[0].purpose == "run 7"


def test_the_choices_of_the_command_line_are_the_words_of_the_api() -> None:
    """Protects the options from falling behind the API's enums."""
    from valetkey import convert

    for choices, enum in (
        (words.ConsumerRole, convert.CONSUMER_ROLE),
        (words.EventKind, convert.EVENT_KIND),
    ):
        assert [choice.value for choice in choices] == enums_and_times.choices(enum)
