"""Limits over the wire: who is told to come back when, and who is not concerned."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from support.core import NOW, FakeClock
from support.failed_calls import Failure, failure
from support.fake_ledger import FakeLedger
from support.inproc import (
    CONSUMER_KEY,
    OPERATOR_KEY,
    VIEWER_KEY,
    Broker,
    bearer,
    make_key,
    new_connector,
    running_broker,
)
from valetkey.v1.common_pb2 import PERMISSION_READ
from valetkey.v1.connector_service_pb2 import ListConnectorsRequest
from valetkey.v1.token_service_pb2 import IssueTokenRequest
from valetkey_broker.model import EventKind

REQUEST = IssueTokenRequest(resource_id="demo", permissions=[PERMISSION_READ])
EXHAUSTED = (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
LIMITS = {
    "issue_burst": 5,
    "issue_per_second": 2,
    "failed_authentication_burst": 3,
    "failed_authentication_per_second": 0.5,
}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def broker(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Broker]:
    """A broker with small limits and a clock that stands still."""
    async with running_broker(tmp_path, ledger=FakeLedger(), clock=clock, limits=LIMITS) as running:
        await running.ready()
        await running.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await running.allow("key:trainer", "key:eyes")
        yield running


def ledger_of(broker: Broker) -> FakeLedger:
    ledger = broker.core.ledger
    assert isinstance(ledger, FakeLedger)
    return ledger


def issue(broker: Broker, key: str = CONSUMER_KEY, wanted: IssueTokenRequest = REQUEST) -> Any:
    return broker.tokens.IssueToken(wanted, metadata=bearer(key))


async def fails(broker: Broker, key: str | None = None) -> Failure:
    """Calls with a wrong key, or none."""
    metadata = bearer(key) if key else ()
    return await failure(broker.connectors.ListConnectors(ListConnectorsRequest(), metadata=metadata))


async def test_a_principal_that_issues_too_often(broker: Broker, clock: FakeClock) -> None:
    """After the burst: RESOURCE_EXHAUSTED with a delay that is enough; no token is signed for it."""
    for _ in range(5):
        await issue(broker)
    told = await failure(issue(broker))
    assert told.short == EXHAUSTED
    assert told.metadata == {"limit": "issuing", "per": "principal"}
    assert told.retry_after == 0.5
    assert "key:trainer" in told.message
    assert broker.cloud.calls["sign"] == 5
    clock.now += told.retry_after
    await issue(broker)
    assert (await failure(issue(broker))).short == EXHAUSTED


async def test_each_principal_by_itself(broker: Broker) -> None:
    """Others go on, and so does all of the caller's that is not issuing."""
    for _ in range(5):
        await issue(broker)
    assert (await failure(issue(broker))).short == EXHAUSTED
    await issue(broker, VIEWER_KEY)
    for _ in range(10):
        await broker.connectors.ListConnectors(ListConnectorsRequest(), metadata=bearer(VIEWER_KEY))


async def test_refused_requests_count_too(broker: Broker) -> None:
    """Trying out what there is costs as much as being given it."""
    wanted = IssueTokenRequest(resource_id="secret", permissions=[PERMISSION_READ])
    reasons = [(await failure(issue(broker, wanted=wanted))).reason for _ in range(7)]
    assert reasons == ["RESOURCE_DENIED"] * 5 + ["RATE_LIMITED"] * 2
    assert [event.reason for event in ledger_of(broker).of(EventKind.DENIED)] == reasons
    assert {event.resource for event in ledger_of(broker).of(EventKind.DENIED)} == {"secret"}


async def test_failed_authentications(broker: Broker, clock: FakeClock) -> None:
    """Too many from an address are told to wait; the limit is not the issuing one, and ends."""
    wrong = make_key("X")
    short = [(await fails(broker, wrong)).reason for _ in range(3)]
    assert short == ["CREDENTIALS_INVALID"] * 3
    told = await fails(broker)
    assert told.short == EXHAUSTED
    assert told.metadata == {"limit": "failed authentications", "per": "address"}
    assert told.retry_after == 2
    clock.now = NOW + 2
    assert (await fails(broker)).reason == "CREDENTIALS_MISSING"
    recorded = ledger_of(broker).of(EventKind.AUTHENTICATION_FAILED)
    assert [event.reason for event in recorded] == [*short, "RATE_LIMITED", "CREDENTIALS_MISSING"]
    assert {(event.peer, event.principal, event.authentication) for event in recorded} == {("127.0.0.1", "", "")}


async def test_good_credentials_go_on(broker: Broker) -> None:
    """An address from which somebody guesses keys still serves those who have one: they may share it."""
    for _ in range(50):
        await fails(broker, make_key("X"))
    await issue(broker)
    await broker.connectors.ListConnectors(ListConnectorsRequest(), metadata=bearer(VIEWER_KEY))


async def test_guessing_under_the_limit_tells_no_more(broker: Broker) -> None:
    """Once limited, a wrong key, an expired one and none are told the same: the answer is no oracle."""
    for _ in range(3):
        await fails(broker)
    answers = [await fails(broker, key) for key in (None, make_key("X"), "nonsense", "a.b.c")]
    assert len({(told.short, told.message, tuple(told.metadata.items())) for told in answers}) == 1


async def test_health_is_never_limited(broker: Broker) -> None:
    """Probes carry no credentials and are no failed authentications."""
    assert all(await asyncio.gather(*(broker.healthy() for _ in range(50))))
    assert (await fails(broker)).reason == "CREDENTIALS_MISSING"
