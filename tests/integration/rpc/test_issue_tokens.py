"""IssueTokens over the wire: many tokens in one call, each issued as if it had been asked for by itself."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from support.failed_calls import failure
from support.inproc import AUDITOR_KEY, CONSUMER_KEY, OPERATOR_KEY, Broker, bearer, new_connector, running_broker
from valetkey.v1 import errors_pb2, ledger_service_pb2, resource_service_pb2
from valetkey.v1 import token_service_pb2 as pb
from valetkey_broker.api.token_batch import MOST_REQUESTS

_FITS = 4 * 1024 * 1024


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker whose consumer may read single blobs below `models`, and write nothing."""
    async with running_broker(tmp_path, server={"max_message_bytes": 2 * 1024 * 1024}) as running:
        await running.ready()
        await running.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await running.allow(containers=("demo",), prefixes=["models"], permissions=[1, 6])
        yield running


def _ask(resource_id: str, permissions: Sequence[int] = (1,), **more: Any) -> pb.IssueTokenRequest:
    return pb.IssueTokenRequest(resource_id=resource_id, permissions=permissions, **more)


async def _issue(broker: Broker, requests: Sequence[pb.IssueTokenRequest]) -> Sequence[pb.IssueTokenResult]:
    request = pb.IssueTokensRequest(requests=requests)
    answer = await broker.tokens.IssueTokens(request, metadata=bearer(CONSUMER_KEY))
    return list(answer.results)


async def test_one_result_each_in_order(broker: Broker) -> None:
    """Whatever becomes of one, the others are issued, and each error says what IssueToken would have said."""
    requests = [
        _ask("az://demo/models/a"),
        _ask("az://demo/models-evil"),
        _ask("az://demo/models/b", ttl=Duration(seconds=60), purpose="training"),
        _ask("az://demo/models/../b"),
        _ask("az://demo/models/"),
        _ask("az://demo/models/c", [6]),
        _ask("az://demo/models/a"),
        _ask("az://demo/models/a", []),
        _ask("az://demo/models/a", ttl=Duration(seconds=10**9)),
    ]
    results = await _issue(broker, requests)
    told = [
        result.token.resource.resource_id
        if result.HasField("token")
        else errors_pb2.ErrorReason.Name(result.error.detail.reason).removeprefix("ERROR_REASON_")
        for result in results
    ]
    assert told == [
        "az://demo/models/a",
        "RESOURCE_DENIED",
        "az://demo/models/b",
        "INVALID_FIELD",
        "SCOPE_UNSUPPORTED",
        "SCOPE_UNSUPPORTED",
        "az://demo/models/a",
        "INVALID_FIELD",
        "INVALID_FIELD",
    ]
    for request, result in zip(requests, results, strict=True):
        if result.HasField("error"):
            alone = await failure(broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY)))
            assert (result.error.code, result.error.message) == (alone.short[0].value[0], alone.message)
            assert dict(result.error.detail.metadata) == alone.metadata
    assert results[2].token.expire_time.seconds - results[0].token.expire_time.seconds < -800
    assert results[0].token.lease_id != results[6].token.lease_id


async def test_each_is_recorded(broker: Broker) -> None:
    """The ledger has every token of a call and every refusal, with the call that they came by."""
    await _issue(broker, [_ask("az://demo/models/a", purpose="x"), _ask("az://demo/other"), _ask("az://demo/models/b")])
    events = (
        await broker.ledger.ListEvents(
            ledger_service_pb2.ListEventsRequest(principal="key:trainer"), metadata=bearer(AUDITOR_KEY)
        )
    ).events
    name = ledger_service_pb2.EventKind.Name
    kinds = sorted((name(event.kind)[11:], event.resource, event.purpose) for event in events)
    assert kinds == [
        ("DENIED", "az://demo/other", ""),
        ("TOKEN_ISSUED", "https://demoaccount.blob.invalid/demo/models/a", "x"),
        ("TOKEN_ISSUED", "https://demoaccount.blob.invalid/demo/models/b", ""),
    ]
    assert {event.method for event in events} == {"/valetkey.v1.TokenService/IssueTokens"}
    assert len({event.request_id for event in events}) == 1
    leases = await broker.ledger.ListLeases(
        ledger_service_pb2.ListLeasesRequest(resource_id="az://demo/models/a"), metadata=bearer(OPERATOR_KEY)
    )
    assert [lease.resource for lease in leases.leases] == ["https://demoaccount.blob.invalid/demo/models/a"]


@pytest.mark.parametrize("count", [0, MOST_REQUESTS + 1])
async def test_none_and_too_many_are_refused(broker: Broker, count: int) -> None:
    """A call has a bound, which is told, and what is beyond it issues nothing at all."""
    request = pb.IssueTokensRequest(requests=[_ask("az://demo/models/a")] * count)
    told = await failure(broker.tokens.IssueTokens(request, metadata=bearer(CONSUMER_KEY)))
    assert told.short == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert "expected 1 to 1000 in one call" in told.message
    assert not broker.cloud.signed


async def test_a_call_costs_as_much_as_it_asks_for(tmp_path: Path) -> None:
    """Nobody gets around the limit by asking for many at once; a full bucket lets through what it cannot hold."""
    limits = {"issue_burst": 5, "issue_per_second": 0.01}
    async with running_broker(tmp_path, limits=limits) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow()
        assert len(await _issue(broker, [_ask("az://demo/a")] * 4)) == 4
        refused = pb.IssueTokensRequest(requests=[_ask("az://demo/a")] * 2)
        told = await failure(broker.tokens.IssueTokens(refused, metadata=bearer(CONSUMER_KEY)))
        assert told.short == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        assert len(await _issue(broker, [_ask("az://demo/a")])) == 1
    (tmp_path / "again").mkdir()
    async with running_broker(tmp_path / "again", limits=limits) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow()
        assert len(await _issue(broker, [_ask("az://demo/a")] * 8)) == 8
        told = await failure(broker.tokens.IssueToken(_ask("az://demo/a"), metadata=bearer(CONSUMER_KEY)))
        assert told.reason == "RATE_LIMITED"


@pytest.mark.parametrize(
    ("resource_id", "what"),
    [(f"az://demo/models/{'a' * 508}/{'b' * 508}", "token"), (f"az://demo/models/{'/' * 1100}", "error")],
    ids=["tokens", "errors"],
)
async def test_the_longest_answer_fits(broker: Broker, resource_id: str, what: str) -> None:
    """A thousand of the longest ids, and a thousand errors about what is longer still, come back in one message."""
    request = pb.IssueTokensRequest(requests=[_ask(resource_id)] * MOST_REQUESTS)
    answer = await broker.tokens.IssueTokens(request, metadata=bearer(CONSUMER_KEY))
    assert {result.WhichOneof("result") for result in answer.results} == {what}
    assert answer.ByteSize() < _FITS


async def test_a_mistake_of_ours_in_one_spoils_no_other(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw is INTERNAL for that one request, and says nothing of its cause."""
    sign = broker.cloud.sign

    def broken(request: Any, lease_ids: Any) -> Any:
        if request.scope.path.endswith("b"):
            raise RuntimeError("PLANTED")
        return sign(request, lease_ids)

    monkeypatch.setattr(broker.cloud, "sign", broken)
    first, second = await _issue(broker, [_ask("az://demo/models/a"), _ask("az://demo/models/b")])
    assert first.HasField("token")
    assert second.error.code == grpc.StatusCode.INTERNAL.value[0]
    assert "internal error; the broker's log has it under" in second.error.message
    assert "PLANTED" not in str(second)


async def test_callers_are_authenticated_and_admitted_as_for_one(broker: Broker) -> None:
    """Without an identity nothing is read, and without a grant each is refused in the same words."""
    request = pb.IssueTokensRequest(requests=[_ask("az://demo/models/a")])
    told = await failure(broker.tokens.IssueTokens(request))
    assert told.short == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING")
    answer = await broker.tokens.IssueTokens(request, metadata=bearer(AUDITOR_KEY))
    assert answer.results[0].error.detail.reason == errors_pb2.ERROR_REASON_RESOURCE_DENIED
    assert not broker.cloud.signed


async def test_streams_and_lists_know_paths(broker: Broker) -> None:
    """A stream brings tokens for its blob, and a list shows a grant's paths as what they are: all that is below."""
    stream = broker.tokens.WatchToken(
        pb.WatchTokenRequest(request=_ask("az://demo/models/a")), metadata=bearer(CONSUMER_KEY)
    )
    first = await stream.read()
    stream.cancel()
    assert first.token.resource.resource_id == "az://demo/models/a"
    for only in ("", "az://demo/models/a", "az://demo/models/v1/"):
        answer = await broker.resources.ListResources(
            resource_service_pb2.ListResourcesRequest(resource_id=only), metadata=bearer(CONSUMER_KEY)
        )
        assert [each.resource_id for entry in answer.connectors for each in entry.resources] == ["az://demo/models/"]
    nothing = await broker.resources.ListResources(
        resource_service_pb2.ListResourcesRequest(resource_id="az://demo/models-evil"), metadata=bearer(CONSUMER_KEY)
    )
    assert not nothing.connectors
