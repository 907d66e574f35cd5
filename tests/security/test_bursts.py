"""Bursts of refusals: the ledger grows in bounds and counts them all, and the service stays up."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from support.inproc import (
    ADMIN_KEY,
    AUDITOR_KEY,
    CONSUMER_KEY,
    OPERATOR_KEY,
    VIEWER_KEY,
    Broker,
    bearer,
    new_connector,
    running_broker,
)
from support.ledgers import open_ledger
from valetkey.v1 import grant_service_pb2 as grants_pb
from valetkey.v1 import ledger_service_pb2 as ledger_pb
from valetkey.v1 import token_service_pb2 as pb
from valetkey.v1.common_pb2 import PERMISSION_READ
from valetkey.v1.token_service_pb2 import IssueTokenRequest
from valetkey_broker.model import EventFilter, EventKind, StoredEvent, Verification

MANY = 10_000
AT_ONCE = 50
SECRET = IssueTokenRequest(resource_id="secret", permissions=[PERMISSION_READ])
DEMO = IssueTokenRequest(resource_id="demo", permissions=[PERMISSION_READ])

Call = Callable[[Broker, int], Any]


def denied(broker: Broker, _number: int) -> Any:
    return broker.tokens.IssueToken(SECRET, metadata=bearer(CONSUMER_KEY))


def guessed(broker: Broker, number: int) -> Any:
    return broker.tokens.IssueToken(SECRET, metadata=bearer(f"vk_{number:043d}"))


def without_role(broker: Broker, number: int) -> Any:
    request = grants_pb.DeleteGrantRequest(name=f"grant-{number}")
    return broker.grants.DeleteGrant(request, metadata=bearer(CONSUMER_KEY))


async def burst(broker: Broker, call: Call, many: int = MANY) -> Counter[str]:
    """Makes calls that all have to be refused, and returns how often with which code."""
    numbers = iter(range(many))
    codes: Counter[str] = Counter()

    async def caller() -> None:
        for number in numbers:
            try:
                await call(broker, number)
            except grpc.aio.AioRpcError as error:
                codes[error.code().name] += 1

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return codes


async def on_record(directory: Path) -> tuple[list[StoredEvent], Verification]:
    """Opens the ledger of a broker that has ended and returns what it says."""
    async with open_ledger(f"sqlite:///{directory / 'ledger.db'}") as ledger:
        return list(await ledger.events(EventFilter(limit=MANY))), await ledger.verify()


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("call", "kind", "codes", "many"),
    [
        (denied, EventKind.DENIED, {"PERMISSION_DENIED", "RESOURCE_EXHAUSTED"}, MANY),
        (guessed, EventKind.AUTHENTICATION_FAILED, {"UNAUTHENTICATED", "RESOURCE_EXHAUSTED"}, MANY // 4),
        (without_role, EventKind.DENIED, {"PERMISSION_DENIED"}, MANY // 4),
    ],
    ids=["denied tokens", "guessed keys", "changes without a role"],
)
async def test_thousands_of_refusals(tmp_path: Path, call: Call, kind: EventKind, codes: set[str], many: int) -> None:
    """All are refused and counted, on some dozens of records; others are served meanwhile, in time."""
    # However slow the machine is, the burst is faster than this; who is served meanwhile asks ten times a second.
    limits = {"issue_burst": 100, "issue_per_second": 20.0}
    async with running_broker(tmp_path, limits=limits) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow("key:eyes")
        bursting, first = asyncio.create_task(burst(broker, call, many)), time.monotonic()
        slowest, served = 0.0, 0
        while not bursting.done():
            began = time.monotonic()
            await broker.tokens.IssueToken(DEMO, metadata=bearer(VIEWER_KEY), timeout=60)
            assert await broker.healthy()
            slowest = max(slowest, time.monotonic() - began)
            served += 1
            await asyncio.sleep(0.1)
        told, took = await bursting, time.monotonic() - first
        assert told.total() == many
        assert set(told) == codes
        assert served > 1
        assert slowest < 30
    events, verification = await on_record(tmp_path)
    refusals = [stored.event for stored in events if stored.event.kind is kind]
    assert sum(event.count for event in refusals) == many
    assert len(refusals) < 100 + took  # Of each kind twenty, one each five seconds, and a sum each ten.
    assert verification.intact


async def test_streams_in_a_burst(tmp_path: Path) -> None:
    """A caller that opens streams without end gets as many as it may, and takes nothing from others."""
    async with running_broker(tmp_path, limits={"streams": 10, "issue_burst": 100_000}) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow("key:eyes", "key:trainer")
        wanted = pb.WatchTokenRequest(request=DEMO)
        streams: list[Any] = [broker.tokens.WatchToken(wanted, metadata=bearer(CONSUMER_KEY)) for _ in range(500)]

        async def begins(stream: Any) -> str:
            try:
                return str((await stream.read()).WhichOneof("message"))
            except grpc.aio.AioRpcError as error:
                return error.code().name

        answers = Counter(await asyncio.gather(*map(begins, streams)))
        assert answers == {"token": 10, "RESOURCE_EXHAUSTED": 490}
        other: Any = broker.tokens.WatchToken(wanted, metadata=bearer(VIEWER_KEY))
        assert await begins(other) == "token"
    events, verification = await on_record(tmp_path)
    refused = [stored.event for stored in events if stored.event.kind is EventKind.DENIED]
    assert sum(event.count for event in refused) == 490
    assert len(refused) < 40
    assert sum(stored.event.kind is EventKind.TOKEN_ISSUED for stored in events) == 11
    assert verification.intact


async def test_the_largest_page_arrives(tmp_path: Path) -> None:
    """However large refused requests are, a page of a thousand records fits what clients take, which is 4 MiB."""
    words = "\U0001f600" * 4000
    async with running_broker(tmp_path, limits={"issue_burst": 1, "issue_per_second": 1e-6}) as broker:
        await broker.ready()
        wanted = IssueTokenRequest(resource_id=words, connector=words, purpose=words)
        assert await burst(broker, lambda b, _: b.tokens.IssueToken(wanted, metadata=bearer(CONSUMER_KEY)), 3)
        (largest,) = await broker.core.ledger.events(EventFilter(newest=True, limit=1))
        assert largest.event.reason == "RATE_LIMITED"
        await asyncio.gather(*(broker.core.ledger.record(largest.event) for _ in range(1000)))
        request = ledger_pb.ListEventsRequest(page_size=1000, newest=True)
        page = await broker.ledger.ListEvents(request, metadata=bearer(AUDITOR_KEY))
        assert len(page.events) == 1000
        assert page.ByteSize() < 2 * 1024 * 1024


async def test_a_guesser_does_not_lock_admins_out(tmp_path: Path) -> None:
    """While keys are guessed from an address, an admin at the same address goes on changing things."""
    async with running_broker(tmp_path) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        bursting = asyncio.create_task(burst(broker, guessed, 1000))
        await broker.allow("key:eyes")
        await broker.grants.DeleteGrant(grants_pb.DeleteGrantRequest(name="training"), metadata=bearer(ADMIN_KEY))
        assert (await bursting).total() == 1000
    events, _ = await on_record(tmp_path)
    assert [s.event.object for s in events if s.event.kind is EventKind.ADMIN_CHANGE][-1] == "grants/training"
