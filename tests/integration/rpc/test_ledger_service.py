"""LedgerService over the wire, on the real ledger: pages, filters, the check, and who may read."""

import base64
import contextlib
import hashlib
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from support.failed_calls import failure
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
from valetkey.v1 import ledger_service_pb2 as pb
from valetkey.v1.token_service_pb2 import IssueTokenRequest, IssueTokenResponse
from valetkey_broker.model import Event, EventKind

pytestmark = pytest.mark.unmeasured

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """Two connectors: `azure-blob-demo` to az://demo and `models` to the containers of otheraccount."""
    async with running_broker(tmp_path) as running:
        await running.ready()
        await running.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        models = new_connector("models", "", storage_account="otheraccount")
        await running.connectors.CreateConnector(models, metadata=bearer(OPERATOR_KEY))
        await running.allow()
        await running.allow("key:eyes", name="eyes", connectors=("models",), containers=("models",))
        yield running


async def issue(broker: Broker, key: str = CONSUMER_KEY, **fields: Any) -> IssueTokenResponse:
    wanted = IssueTokenRequest(**{"resource_id": "demo", "permissions": [1, 2], **fields})
    return await broker.tokens.IssueToken(wanted, metadata=bearer(key))


async def leases(broker: Broker, key: str = AUDITOR_KEY, **fields: Any) -> pb.ListLeasesResponse:
    return await broker.ledger.ListLeases(pb.ListLeasesRequest(**fields), metadata=bearer(key))


async def events(broker: Broker, **fields: Any) -> pb.ListEventsResponse:
    return await broker.ledger.ListEvents(pb.ListEventsRequest(**fields), metadata=bearer(AUDITOR_KEY))


async def verify(broker: Broker, *anchors: pb.LedgerHead) -> pb.VerifyLedgerResponse:
    return await broker.ledger.VerifyLedger(pb.VerifyLedgerRequest(anchors=anchors), metadata=bearer(AUDITOR_KEY))


async def test_a_lease_as_it_was_issued(broker: Broker) -> None:
    """The lease and the event say what the token said, and the token's signature can be matched with its record."""
    before = time.time()
    given = await issue(broker, purpose="run 17")
    (lease,) = (await leases(broker)).leases
    assert (lease.id, lease.principal, lease.connector) == (given.lease_id, "key:trainer", "azure-blob-demo")
    assert (lease.credential_version, lease.resource) == (1, given.resource.url)
    assert (list(lease.permissions), lease.grant, lease.purpose) == (list(given.permissions), "training", "run 17")
    assert lease.expire_time == given.expire_time
    assert before - 0.01 <= lease.issue_time.seconds + lease.issue_time.nanos / 1e9 <= time.time()
    (event,) = (await events(broker, lease_id=given.lease_id)).events
    assert event.kind == pb.EVENT_KIND_TOKEN_ISSUED
    assert event.method == "/valetkey.v1.TokenService/IssueToken"
    assert (event.authentication, event.peer, event.count, event.sequence) == ("api-key", "127.0.0.1", 1, event.id)
    assert (event.ttl.seconds, event.expire_time) == (900, given.expire_time)
    signature = parse_qs(given.sas_token)["sig"][0]
    assert event.signature_sha256 == hashlib.sha256(signature.encode()).digest()
    assert len(event.hash) == 32


async def test_pages_of_leases(broker: Broker) -> None:
    """Pages come newest first, overlap nowhere, and the last one says that it is."""
    given = [(await issue(broker)).lease_id for _ in range(7)]
    seen, token, sizes = [], "", []
    while True:
        page = await leases(broker, page_size=3, page_token=token)
        seen += [lease.id for lease in page.leases]
        sizes.append(len(page.leases))
        await issue(broker)  # New ones do not shift the pages.
        token = page.next_page_token
        if not token:
            break
    assert seen == given[::-1]
    assert sizes == [3, 3, 1]
    exact = await leases(broker, page_size=10)
    assert (len(exact.leases), exact.next_page_token) == (10, "")


async def test_filters_of_leases(broker: Broker) -> None:
    """Each filter finds its own; resources are understood as in a request for a token."""
    demo = await issue(broker)
    models = await issue(broker, VIEWER_KEY, resource_id="models")
    for fields, found in (
        ({}, [models, demo]),
        ({"principal": "key:trainer"}, [demo]),
        ({"principal": "key:train"}, []),
        ({"connector": "models"}, [models]),
        ({"resource_id": "az://models"}, [models]),
        ({"resource_id": "abfs://demo@demoaccount.dfs.core.windows.net"}, [demo]),
        ({"resource_id": "abfs://demo@otheraccount.dfs.core.windows.net"}, []),
        ({"resource_id": "demo", "principal": "key:eyes"}, []),
    ):
        assert [lease.id for lease in (await leases(broker, **fields)).leases] == [each.lease_id for each in found]


async def test_active_leases(broker: Broker) -> None:
    """What has ended is left out unless asked for."""
    short = await issue(broker, ttl={"seconds": 1})
    long = await issue(broker)
    while time.time() < short.expire_time.seconds:
        assert len((await leases(broker)).leases) <= 2
    assert [lease.id for lease in (await leases(broker)).leases] == [long.lease_id]
    assert len((await leases(broker, include_expired=True)).leases) == 2


async def test_pages_lead_through_ids_that_somebody_moved(broker: Broker, tmp_path: Path) -> None:
    """No page ends in silence at an id that no broker gives, and 0 least of all: it stands for the end of the list."""
    for _ in range(3):
        await issue(broker)
    every = [event.sequence for event in (await events(broker)).events]
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute("UPDATE ledger_events SET id = id - ?", (len(every) - 2,))
    for size in (1, 2, 3):
        seen: list[int] = []
        after = 0
        while True:
            page = await events(broker, page_size=size, after_id=after)
            seen += [event.sequence for event in page.events]
            after = page.next_after_id
            if not after:
                break
        assert seen == every
        found, token = [], ""
        while True:
            listed = await leases(broker, page_size=size, page_token=token)
            found += [lease.id for lease in listed.leases]
            token = listed.next_page_token
            if not token:
                break
        assert len(found) == 3


async def test_pages_of_events(broker: Broker) -> None:
    """Events come in order, page by page; following goes on behind the last one seen."""
    for _ in range(4):
        await issue(broker)
    every: list[pb.Event] = list((await events(broker)).events)
    assert len(every) == 12
    assert [event.id for event in every] == sorted(event.id for event in every)
    seen: list[pb.Event] = []
    after = 0
    while True:
        page = await events(broker, page_size=3, after_id=after)
        seen += page.events
        after = page.next_after_id
        if not after:
            break
    assert seen == every
    newest = await events(broker, page_size=3, newest=True)
    assert (list(newest.events), newest.next_after_id) == (every[-3:], 0)
    given = await issue(broker)
    (fresh,) = (await events(broker, after_id=every[-1].id)).events
    assert fresh.lease_id == given.lease_id


async def test_filters_of_events(broker: Broker) -> None:
    """Kind, principal, connector, request id, resource and time find what they name."""
    await issue(broker)
    await failure(issue(broker, resource_id="secret"))
    await failure(broker.ledger.ListLeases(pb.ListLeasesRequest(), metadata=(("x-request-id", "find-me"),)))
    middle = Timestamp()
    middle.GetCurrentTime()
    await issue(broker)

    async def kinds(**fields: Any) -> list[str]:
        return [pb.EventKind.Name(event.kind)[11:] for event in (await events(broker, **fields)).events]

    assert await kinds(kind=pb.EVENT_KIND_DENIED) == ["DENIED"]
    assert await kinds(kind=pb.EVENT_KIND_ADMIN_CHANGE) == ["ADMIN_CHANGE"] * 4
    assert await kinds(principal="key:trainer") == ["TOKEN_ISSUED", "DENIED", "TOKEN_ISSUED"]
    assert await kinds(connector="azure-blob-demo") == ["TOKEN_ISSUED"] * 2
    assert await kinds(request_id="find-me") == ["AUTHENTICATION_FAILED"]
    assert await kinds(resource_id="az://demo") == ["TOKEN_ISSUED"] * 2
    assert await kinds(resource_id="az://secret") == ["DENIED"]
    for changes in ({"kind": pb.EVENT_KIND_ADMIN_CHANGE}, {"unfinished": True}):
        refused = await failure(events(broker, resource_id="az://demo", **changes))
        assert (refused.short, refused.metadata["field"]) == (INVALID, "resource_id")
    assert await kinds(since=middle) == ["TOKEN_ISSUED"]
    assert await kinds(kind=pb.EVENT_KIND_CHANGE_BEGUN) == ["CHANGE_BEGUN"] * 4
    assert len(await kinds(until=middle)) == 11
    assert await kinds(since=middle, until=middle) == []


async def test_objects_of_changes(broker: Broker) -> None:
    """A change says who made it, and to what."""
    found = (await events(broker, kind=pb.EVENT_KIND_ADMIN_CHANGE)).events
    assert [(event.principal, event.object) for event in found] == [
        ("key:ops", "connectors/azure-blob-demo"),
        ("key:ops", "connectors/models"),
        ("key:admin", "grants/training"),
        ("key:admin", "grants/eyes"),
    ]


async def test_unfinished_changes(broker: Broker) -> None:
    """A change that was begun and has no outcome is found as such, and asked of no other kind."""
    assert not (await events(broker, unfinished=True)).events
    begun = Event(kind=EventKind.CHANGE_BEGUN, time=time.time(), request_id="lost", object="grants/lost")
    await broker.core.ledger.record(begun)
    for fields in ({}, {"kind": pb.EVENT_KIND_CHANGE_BEGUN}, {"newest": True}):
        (found,) = (await events(broker, unfinished=True, **fields)).events
        assert (found.object, found.kind) == ("grants/lost", pb.EVENT_KIND_CHANGE_BEGUN)
    told = await failure(events(broker, unfinished=True, kind=pb.EVENT_KIND_ADMIN_CHANGE))
    assert (told.short, told.metadata["field"]) == (INVALID, "unfinished")


async def test_the_check(broker: Broker) -> None:
    """The chains hold, heads can be noted and asked about later, and one that is gone is told."""
    await issue(broker)
    first = await verify(broker)
    assert (first.intact, first.records, first.problem, first.broken_id) == (True, 9, "", 0)
    (head,) = first.heads
    assert (head.sequence, len(head.hash)) == (9, 32)
    await issue(broker)
    later = await verify(broker, head)
    assert (later.intact, later.records) == (True, 10)
    forged = await verify(broker, pb.LedgerHead(writer=head.writer, sequence=9, hash=bytes(32)))
    assert not forged.intact
    assert forged.problem
    gone = await verify(broker, pb.LedgerHead(writer=head.writer, sequence=99, hash=bytes(32)))
    assert not gone.intact


@pytest.mark.parametrize(
    ("key", "may"),
    [
        (AUDITOR_KEY, {"ListLeases", "ListEvents", "VerifyLedger"}),
        (ADMIN_KEY, {"ListLeases", "ListEvents", "VerifyLedger"}),
        (OPERATOR_KEY, {"ListLeases"}),
        (VIEWER_KEY, set()),
        (CONSUMER_KEY, set()),
        (None, set()),
    ],
    ids=["auditor", "admin", "operator", "viewer", "consumer", "nobody"],
)
async def test_who_may_read(broker: Broker, key: str | None, may: set[str]) -> None:
    """The ledger is for auditors, leases for operators too, and nothing of it for others."""
    metadata = bearer(key) if key else ()
    for name in ("ListLeases", "ListEvents", "VerifyLedger"):
        call = getattr(broker.ledger, name)(getattr(pb, f"{name}Request")(), metadata=metadata)
        if name in may:
            await call
        else:
            assert (await failure(call)).reason == ("ROLE_REQUIRED" if key else "CREDENTIALS_MISSING")


def page_token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"page_token": "%%%"}, "page_token"),
        ({"page_token": page_token("x")}, "page_token"),
        ({"page_token": page_token(str(-(2**63) - 1))}, "page_token"),
        ({"page_token": page_token(str(2**63))}, "page_token"),
        ({"page_token": page_token("9" * 5000)}, "page_token"),
        ({"resource_id": "a/../b"}, "resource_id"),
        ({"principal": "key:\0"}, "principal"),
        ({"connector": "two\nlines"}, "connector"),
    ],
)
async def test_malformed_questions_about_leases(broker: Broker, fields: dict[str, Any], field: str) -> None:
    """Nonsense is refused by its field's name, and reaches no database."""
    told = await failure(leases(broker, **fields))
    assert told.short == INVALID
    assert told.metadata["field"] == field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_size": -(2**31)}, "page_size"),
        ({"kind": 99}, "kind"),
        ({"principal": "\0"}, "principal"),
        ({"connector": "\x1b[2J"}, "connector"),
        ({"request_id": "\n"}, "request_id"),
        ({"lease_id": "\x7f"}, "lease_id"),
        ({"since": Timestamp(seconds=2**62)}, "since"),
        ({"until": Timestamp(seconds=-(2**62))}, "until"),
        ({"until": Timestamp(nanos=-1)}, "until"),
    ],
)
async def test_malformed_questions_about_events(broker: Broker, fields: dict[str, Any], field: str) -> None:
    """The same for events."""
    told = await failure(events(broker, **fields))
    assert told.short == INVALID
    assert told.metadata["field"] == field


@pytest.mark.parametrize(
    "anchor",
    [
        pb.LedgerHead(),
        pb.LedgerHead(writer="w", sequence=1, hash=b"short"),
        pb.LedgerHead(writer="w", sequence=0, hash=bytes(32)),
        pb.LedgerHead(writer="\0", sequence=1, hash=bytes(32)),
    ],
)
async def test_malformed_anchors(broker: Broker, anchor: pb.LedgerHead) -> None:
    """An anchor that is none is refused, not taken for a record that is gone."""
    told = await failure(verify(broker, anchor))
    assert told.short == INVALID
    assert told.metadata["field"] == "anchors"


async def test_filters_are_data(broker: Broker) -> None:
    """What looks like SQL is looked for, and not found; large numbers are numbers."""
    await issue(broker)
    for text in ("' OR 1=1 --", "%", "_", '"; DROP TABLE ledger_events; --'):
        assert not (await events(broker, principal=text)).events
        assert not (await leases(broker, connector=text)).leases
    assert not (await events(broker, after_id=2**63 - 1)).events
    assert len((await leases(broker, page_size=2**31 - 1, page_token=page_token(str(2**63 - 1)))).leases) == 1
    assert (await verify(broker)).intact
