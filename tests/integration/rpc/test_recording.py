"""What the guard tells the ledger: every refusal, every change, whoever hangs up, and nothing without the ledger."""

import asyncio
import datetime as dt
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from support.captured_log import Log
from support.failed_calls import Failure, failure
from support.fake_ledger import FakeLedger, ledger_down
from support.fake_store import FakeStateStore
from support.inproc import (
    ADMIN_KEY,
    AUDITOR_KEY,
    CONSUMER_KEY,
    OPERATOR_KEY,
    SECRET,
    VIEWER_KEY,
    Broker,
    api_key_document,
    bearer,
    make_key,
    new_connector,
    running_broker,
    seed_keys,
)
from support.waiting import eventually
from valetkey.v1 import api_key_service_pb2, connector_service_pb2, ledger_service_pb2
from valetkey.v1 import grant_service_pb2 as grants_pb
from valetkey.v1.common_pb2 import PERMISSION_LIST, PERMISSION_READ
from valetkey.v1.resource_service_pb2 import ListResourcesRequest
from valetkey.v1.token_service_pb2 import IssueTokenRequest, IssueTokenResponse
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Event, EventFilter, EventKind
from valetkey_broker.observability.redaction import scrub
from valetkey_broker.rpc import call_recorder

pytestmark = pytest.mark.unmeasured

UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "LEDGER_UNAVAILABLE")
EXPIRED_KEY, FRESH_KEY = make_key("E"), make_key("F")


class Vault(FakeStateStore):
    """A store whose writes of keys can be held up, or fail after they went through."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0
        self.answers = True

    async def write(self, path: str, data: Mapping[str, Any], *, expected: int) -> int:
        if path.startswith("api-keys/"):
            self.waiting += 1
            await self.gate.wait()
            self.waiting -= 1
        written = await super().write(path, data, expected=expected)
        if not self.answers:
            raise BrokerError(Reason.VAULT_UNAVAILABLE, "no answer", {"cause": "timeout"})
        return written


@pytest.fixture
async def vault() -> Vault:
    store = Vault()
    await seed_keys(store)
    await store.write("api-keys/late", api_key_document(EXPIRED_KEY, expires="2020-01-01T00:00:00+00:00"), expected=0)
    return store


@pytest.fixture
async def broker(tmp_path: Path, vault: Vault) -> AsyncIterator[Broker]:
    """A broker with a connector, and a grant for `key:trainer`; the ledger is in memory."""
    async with running_broker(tmp_path, store=vault, ledger=FakeLedger()) as running:
        await running.ready()
        await running.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await running.allow()
        ledger_of(running).recorded.clear()
        yield running


def ledger_of(broker: Broker) -> FakeLedger:
    ledger = broker.core.ledger
    assert isinstance(ledger, FakeLedger)
    return ledger


def only(broker: Broker) -> Event:
    (event,) = ledger_of(broker).recorded
    return event


def outcome(broker: Broker) -> tuple[EventKind, str, str]:
    """Returns kind, object and reason of the outcome of the only change, which has to be tied to its beginning."""
    begun, ended = ledger_of(broker).recorded
    assert replace(ended, kind=begun.kind, time=begun.time, reason="") == begun
    assert begun.kind is EventKind.CHANGE_BEGUN
    return ended.kind, ended.object, ended.reason


async def issue(broker: Broker, key: str = CONSUMER_KEY, **fields: Any) -> IssueTokenResponse:
    wanted = IssueTokenRequest(**{"resource_id": "demo", "permissions": [PERMISSION_READ], **fields})
    return await broker.tokens.IssueToken(wanted, metadata=bearer(key))


def new_key(broker: Broker, name: str = "fresh", **options: Any) -> Any:
    ends = Timestamp()
    ends.FromDatetime(dt.datetime.now(dt.UTC) + dt.timedelta(days=1))
    request = api_key_service_pb2.CreateApiKeyRequest(
        name=name, expire_time=ends, key_sha256=hashlib.sha256(FRESH_KEY.encode()).digest()
    )
    return broker.api_keys.CreateApiKey(request, metadata=bearer(ADMIN_KEY), **options)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "CREDENTIALS_MISSING"),
        (bearer(make_key("X")), "CREDENTIALS_INVALID"),
        (bearer("nonsense"), "CREDENTIALS_INVALID"),
        (bearer(CONSUMER_KEY) * 2, "CREDENTIALS_INVALID"),
        (bearer(EXPIRED_KEY), "CREDENTIALS_EXPIRED"),
    ],
    ids=["none", "unknown key", "nonsense", "twice", "expired key"],
)
async def test_failed_authentication(broker: Broker, metadata: Any, reason: str) -> None:
    """Who fails to authenticate is on record by address, reason and method; of the request nothing is read."""
    wanted = IssueTokenRequest(resource_id="demo", purpose="PLANTED purpose")
    metadata = (*metadata, ("x-request-id", "call-1"), ("x-forwarded-for", "203.0.113.9"))
    await failure(broker.tokens.IssueToken(wanted, metadata=metadata))
    event = only(broker)
    assert (event.kind, event.reason) == (EventKind.AUTHENTICATION_FAILED, reason)
    assert (event.peer, event.request_id) == ("127.0.0.1", "call-1")
    assert event.method == "/valetkey.v1.TokenService/IssueToken"
    assert (event.principal, event.authentication, event.resource, event.purpose) == ("", "", "", "")


async def test_denied_resource(broker: Broker) -> None:
    """A refused request is on record with who wanted what, by which connector, and what for."""
    with pytest.raises(grpc.aio.AioRpcError):
        await issue(
            broker,
            resource_id="az://secret",
            permissions=[PERMISSION_LIST, PERMISSION_READ],
            connector="other",
            purpose="run 17",
        )
    event = only(broker)
    assert (event.kind, event.reason) == (EventKind.DENIED, "RESOURCE_DENIED")
    assert (event.principal, event.authentication, event.peer) == ("key:trainer", "api-key", "127.0.0.1")
    assert (event.resource, event.permissions, event.connector) == ("az://secret", "rl", "other")
    assert (event.purpose, event.count, event.lease_id) == ("run 17", 1, "")


async def test_denied_in_every_service(broker: Broker) -> None:
    """Listing by a connector that is not the caller's, and explaining others, are refusals on record too."""
    await failure(
        broker.resources.ListResources(
            ListResourcesRequest(connector="hidden"),
            metadata=bearer(CONSUMER_KEY),
        )
    )
    explain = grants_pb.ExplainAccessRequest(principal="key:eyes", resource_id="demo", permissions=[PERMISSION_READ])
    await failure(broker.grants.ExplainAccess(explain, metadata=bearer(CONSUMER_KEY)))
    first, second = ledger_of(broker).of(EventKind.DENIED)
    assert (first.connector, first.principal) == ("hidden", "key:trainer")
    assert (second.resource, second.principal) == ("demo", "key:trainer")


async def test_denied_for_want_of_a_role(broker: Broker) -> None:
    """Who tries to change what it may not is on record with the object it was after."""
    attempts: list[Any] = [
        broker.grants.DeleteGrant(grants_pb.DeleteGrantRequest(name="training"), metadata=bearer(OPERATOR_KEY)),
        broker.connectors.DeleteConnector(
            connector_service_pb2.DeleteConnectorRequest(name="azure-blob-demo"), metadata=bearer(VIEWER_KEY)
        ),
        broker.api_keys.RevokeApiKey(
            api_key_service_pb2.RevokeApiKeyRequest(name="admin"), metadata=bearer(CONSUMER_KEY)
        ),
        broker.ledger.ListEvents(ledger_service_pb2.ListEventsRequest(), metadata=bearer(VIEWER_KEY)),
    ]
    for attempt in attempts:
        assert (await failure(attempt)).reason == "ROLE_REQUIRED"
    assert [(event.kind, event.principal, event.object) for event in ledger_of(broker).recorded] == [
        (EventKind.DENIED, "key:ops", "grants/training"),
        (EventKind.DENIED, "key:eyes", "connectors/azure-blob-demo"),
        (EventKind.DENIED, "key:trainer", "api-keys/admin"),
        (EventKind.DENIED, "key:eyes", ""),
    ]


async def test_what_is_no_decision_is_not_recorded(broker: Broker) -> None:
    """Malformed requests, unknown methods, reading and Azure's troubles are not the ledger's business."""
    nope: Any = broker.channel.unary_unary("/valetkey.v1.TokenService/Nope")
    await failure(nope(b""))
    with pytest.raises(grpc.aio.AioRpcError):
        await issue(broker, resource_id="a//b")
    broker.cloud.fail("signing_key", Reason.CLOUD_UNAVAILABLE, times=1)
    with pytest.raises(grpc.aio.AioRpcError):
        await issue(broker)
    await broker.healthy()
    await broker.grants.ListGrants(grants_pb.ListGrantsRequest(), metadata=bearer(AUDITOR_KEY))
    assert not ledger_of(broker).recorded


async def test_every_change(broker: Broker) -> None:
    """Each change is on record before and after, with who, from where, and what; also one that was not made."""
    admin, operator = bearer(ADMIN_KEY), bearer(OPERATOR_KEY)
    await broker.connectors.CreateConnector(new_connector("second"), metadata=operator)
    await failure(broker.connectors.CreateConnector(new_connector("second"), metadata=operator))
    made = await broker.allow(name="second")
    made.note = "changed"
    await broker.grants.UpdateGrant(grants_pb.UpdateGrantRequest(grant=made), metadata=admin)
    await failure(broker.grants.UpdateGrant(grants_pb.UpdateGrantRequest(grant=made), metadata=admin))
    await broker.grants.DeleteGrant(grants_pb.DeleteGrantRequest(name="second"), metadata=admin)
    await new_key(broker)
    await broker.api_keys.RevokeApiKey(api_key_service_pb2.RevokeApiKeyRequest(name="fresh"), metadata=admin)
    await broker.connectors.DeleteConnector(
        connector_service_pb2.DeleteConnectorRequest(name="second"), metadata=operator
    )
    recorded = ledger_of(broker).recorded
    assert {event.kind for event in recorded[::2]} == {EventKind.CHANGE_BEGUN}
    for begun, ended in zip(recorded[::2], recorded[1::2], strict=True):
        assert replace(ended, kind=begun.kind, time=begun.time, reason="") == begun
    assert len({event.request_id for event in recorded}) == 9
    assert [
        (event.method.rpartition("/")[2], event.principal.removeprefix("key:"), event.object, event.reason)
        for event in recorded[1::2]
    ] == [
        ("CreateConnector", "ops", "connectors/second", ""),
        ("CreateConnector", "ops", "connectors/second", "CONNECTOR_EXISTS"),
        ("CreateGrant", "admin", "grants/second", ""),
        ("UpdateGrant", "admin", "grants/second", ""),
        ("UpdateGrant", "admin", "grants/second", "CONFLICT"),
        ("DeleteGrant", "admin", "grants/second", ""),
        ("CreateApiKey", "admin", "api-keys/fresh", ""),
        ("RevokeApiKey", "admin", "api-keys/fresh", ""),
        ("DeleteConnector", "ops", "connectors/second", ""),
    ]
    assert {(e.kind is EventKind.CHANGE_FAILED, bool(e.reason)) for e in recorded[1::2]} == {
        (True, True),
        (False, False),
    }
    assert {(e.peer, e.authentication) for e in recorded} == {("127.0.0.1", "api-key")}
    told = {event.method.rpartition("/")[2]: event.details for event in recorded}
    assert told["CreateConnector"]["auth_method"] == "service-principal"
    assert told["CreateGrant"]["principals"] == told["UpdateGrant"]["principals"] == "key:trainer"
    assert (set(told["CreateApiKey"]), told["DeleteGrant"], told["RevokeApiKey"]) == ({"expires"}, {}, {})


async def test_a_verification_that_drops_keys(broker: Broker) -> None:
    """Verifying is no change; where it finds dead keys, dropping them is one, and on record as such."""
    await issue(broker)
    verify = connector_service_pb2.VerifyConnectorRequest(name="azure-blob-demo")
    before = len(ledger_of(broker).recorded)
    await broker.connectors.VerifyConnector(verify, metadata=bearer(OPERATOR_KEY))
    assert len(ledger_of(broker).recorded) == before
    broker.cloud.revoke_keys()
    await broker.connectors.VerifyConnector(verify, metadata=bearer(OPERATOR_KEY))
    begun, made = ledger_of(broker).recorded[before:]
    assert (begun.kind, made.kind) == (EventKind.CHANGE_BEGUN, EventKind.ADMIN_CHANGE)
    assert {(e.principal, e.object) for e in (begun, made)} == {("key:ops", "connectors/azure-blob-demo")}
    assert begun.method == "/valetkey.v1.ConnectorService/VerifyConnector"


async def test_changes_under_way_are_bounded_callers_or_no_callers(broker: Broker) -> None:
    """Hanging up and asking again does not pile up changes; those that are one too many are told, and begin nothing."""
    gate = broker.cloud.hold("log_in")
    asked = broker.cloud.calls["log_in"]
    calls = [
        broker.connectors.CreateConnector(new_connector(f"many-{number}"), metadata=bearer(OPERATOR_KEY))
        for number in range(8)
    ]
    await eventually(lambda: broker.cloud.calls["log_in"] == asked + 8)
    for call in calls:
        call.cancel()
    refused = await failure(broker.connectors.CreateConnector(new_connector("one"), metadata=bearer(OPERATOR_KEY)))
    assert (refused.reason, refused.metadata) == ("RATE_LIMITED", {"limit": "changes", "per": "principal"})
    assert "connectors/one" not in {e.object for e in ledger_of(broker).recorded if e.kind is EventKind.CHANGE_BEGUN}
    gate.set()
    made = {f"connectors/many-{number}" for number in range(8)}
    recorded = ledger_of(broker).recorded
    await eventually(lambda: made <= {e.object for e in recorded if e.kind is EventKind.ADMIN_CHANGE})
    await broker.connectors.CreateConnector(new_connector("one"), metadata=bearer(OPERATOR_KEY))


async def test_a_change_begins_on_record(broker: Broker) -> None:
    """At its first record nothing has been asked of Vault or Azure yet, and at its second all is done but the news."""
    seen: list[tuple[EventKind, int, int]] = []

    def look(event: Event) -> None:
        seen.append((event.kind, broker.store.calls["write"], broker.cloud.calls["log_in"]))

    ledger_of(broker).before_record = look
    before = (broker.store.calls["write"], broker.cloud.calls["log_in"])
    await broker.connectors.CreateConnector(new_connector("second"), metadata=bearer(OPERATOR_KEY))
    (begun, *then), (made, writes, log_ins) = seen
    assert (begun, *then) == (EventKind.CHANGE_BEGUN, *before)
    assert made is EventKind.ADMIN_CHANGE
    assert (writes + 1, log_ins) == (broker.store.calls["write"], broker.cloud.calls["log_in"])
    assert (writes > before[0], log_ins > before[1]) == (True, True)


async def test_a_change_that_cannot_be_meant(broker: Broker) -> None:
    """A change with a malformed field was begun and is known not to have been made; what cannot be read is neither."""
    request = grants_pb.CreateGrantRequest(grant=grants_pb.Grant(name="broad", principals=["*"]))
    assert (await failure(broker.grants.CreateGrant(request, metadata=bearer(ADMIN_KEY)))).reason == "INVALID_FIELD"
    assert outcome(broker) == (EventKind.CHANGE_FAILED, "grants/broad", "INVALID_FIELD")
    method: Any = broker.channel.unary_unary("/valetkey.v1.GrantService/DeleteGrant")
    assert (await failure(method(b"\xff", metadata=bearer(ADMIN_KEY)))).reason == "INVALID_FIELD"
    assert len(ledger_of(broker).recorded) == 2


async def test_a_change_that_azure_refuses(broker: Broker) -> None:
    """An attempt to register what Entra refuses is on record, as one that was not made."""
    broker.cloud.fail("log_in", Reason.CLOUD_CREDENTIAL_REJECTED, times=1)
    await failure(broker.connectors.CreateConnector(new_connector("second"), metadata=bearer(OPERATOR_KEY)))
    assert outcome(broker) == (EventKind.CHANGE_FAILED, "connectors/second", "CLOUD_CREDENTIAL_REJECTED")


async def test_a_change_that_breaks_the_broker(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that ends in an error nobody thought of may have been made, and is on record as that."""

    async def broken(*_arguments: Any, **_named: Any) -> None:
        raise RuntimeError("PLANTED")

    monkeypatch.setattr(broker.core.api_keys, "create", broken)
    assert (await failure(new_key(broker))).code is grpc.StatusCode.INTERNAL
    assert outcome(broker) == (EventKind.ADMIN_CHANGE, "api-keys/fresh", "INTERNAL")


async def test_a_change_whose_caller_hangs_up(broker: Broker, vault: Vault) -> None:
    """Nobody changes anything off the record by hanging up in the middle."""
    vault.gate.clear()
    call = new_key(broker)
    await eventually(lambda: vault.waiting == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.sleep(0.1)
    recorded = [event.kind for event in ledger_of(broker).recorded]
    vault.gate.set()
    assert recorded == [EventKind.CHANGE_BEGUN]
    await eventually(lambda: len(ledger_of(broker).recorded) > 1)
    assert outcome(broker) == (EventKind.ADMIN_CHANGE, "api-keys/fresh", "")


class Slow(FakeLedger):
    """A ledger whose records can be held up."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0

    async def record(self, *events: Event) -> None:
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        await super().record(*events)


async def test_a_caller_that_hangs_up_before_the_change(tmp_path: Path, vault: Vault) -> None:
    """Who hangs up while the first record is written leaves a change that is whole: begun, made and both on record."""
    ledger = Slow()
    async with running_broker(tmp_path, store=vault, ledger=ledger) as broker:
        await broker.ready()
        ledger.gate.clear()
        call = new_key(broker)
        await eventually(lambda: ledger.waiting == 1)
        assert not vault.waiting
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        ledger.gate.set()
        await eventually(lambda: len(ledger.recorded) > 1)
        assert outcome(broker) == (EventKind.ADMIN_CHANGE, "api-keys/fresh", "")


async def test_a_change_under_way_at_shutdown(tmp_path: Path, vault: Vault) -> None:
    """A change whose caller is gone is finished and recorded before the ledger closes."""
    ledger = FakeLedger()
    async with running_broker(tmp_path, store=vault, ledger=ledger, server={"grace_seconds": 0.2}) as broker:
        await broker.ready()
        vault.gate.clear()
        call = new_key(broker)
        await eventually(lambda: vault.waiting == 1)
        call.cancel()
        asyncio.get_running_loop().call_later(1, vault.gate.set)
    assert [(event.kind, event.object) for event in ledger.recorded] == [
        (EventKind.CHANGE_BEGUN, "api-keys/fresh"),
        (EventKind.ADMIN_CHANGE, "api-keys/fresh"),
    ]


async def test_a_change_that_takes_too_long(tmp_path: Path, vault: Vault) -> None:
    """A change that ran out of time may have been made: it is on record with the reason why nobody knows."""
    async with running_broker(
        tmp_path, store=vault, ledger=FakeLedger(), server={"max_deadline_seconds": 0.3}
    ) as broker:
        await broker.ready()
        vault.gate.clear()
        told = await failure(new_key(broker))
        vault.gate.set()
        assert told.reason == "DEADLINE_EXCEEDED"
        assert outcome(broker) == (EventKind.ADMIN_CHANGE, "api-keys/fresh", "DEADLINE_EXCEEDED")


async def test_a_change_that_vault_does_not_answer(broker: Broker, vault: Vault) -> None:
    """A write without an answer may have gone through, and is on record as that."""
    vault.answers = False
    assert (await failure(new_key(broker))).reason == "VAULT_UNAVAILABLE"
    vault.answers = True
    assert outcome(broker) == (EventKind.ADMIN_CHANGE, "api-keys/fresh", "VAULT_UNAVAILABLE")


async def changes(broker: Broker) -> list[Failure]:
    """Tries every kind of change, each of which has to fail, and returns how."""
    admin, operator = bearer(ADMIN_KEY), bearer(OPERATOR_KEY)
    grant = grants_pb.Grant(name="training")
    return [
        await failure(attempt)
        for attempt in (
            broker.connectors.CreateConnector(new_connector("second"), metadata=operator),
            broker.connectors.DeleteConnector(
                connector_service_pb2.DeleteConnectorRequest(name="azure-blob-demo"), metadata=operator
            ),
            new_key(broker),
            broker.api_keys.RevokeApiKey(api_key_service_pb2.RevokeApiKeyRequest(name="eyes"), metadata=admin),
            broker.grants.CreateGrant(grants_pb.CreateGrantRequest(grant=grant), metadata=admin),
            broker.grants.UpdateGrant(grants_pb.UpdateGrantRequest(grant=grant), metadata=admin),
            broker.grants.DeleteGrant(grants_pb.DeleteGrantRequest(name="training"), metadata=admin),
        )
    ]


async def test_ledger_down(broker: Broker) -> None:
    """Without the ledger nothing is issued or changed, before anybody is asked; health says so; it all comes back."""
    await issue(broker)
    ledger = ledger_of(broker)
    ledger.fail_with = ledger_down()
    await broker.ready(serving=False)
    assert not await broker.healthy("valetkey.v1.TokenService")
    written, asked = broker.store.calls["write"], dict(broker.cloud.calls)
    refusals = await changes(broker)
    assert {told.short for told in refusals} == {UNAVAILABLE}
    assert all(told.retry_after for told in refusals)
    assert (broker.store.calls["write"], dict(broker.cloud.calls)) == (written, asked)
    told = await failure(
        broker.tokens.IssueToken(
            IssueTokenRequest(resource_id="demo", permissions=[PERMISSION_READ]), metadata=bearer(CONSUMER_KEY)
        )
    )
    assert told.short == UNAVAILABLE
    assert "sig=" not in str(told.error)
    # What only reads goes on, and a refusal is still a refusal.
    await broker.grants.ListGrants(grants_pb.ListGrantsRequest(), metadata=bearer(AUDITOR_KEY))
    assert (await failure(new_refusal(broker))).reason == "RESOURCE_DENIED"
    ledger.fail_with = None
    await broker.ready()
    await issue(broker)
    await new_key(broker)


def new_refusal(broker: Broker) -> Any:
    wanted = IssueTokenRequest(resource_id="secret", permissions=[PERMISSION_READ])
    return broker.tokens.IssueToken(wanted, metadata=bearer(CONSUMER_KEY))


class Breaking(FakeLedger):
    """Looks healthy, and fails at the record that has the number `at` (from 0) among those of changes."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def healthy(self) -> bool:
        return True

    async def record(self, *events: Event) -> None:
        if len(self.recorded) == self.at:
            raise ledger_down()
        await super().record(*events)


async def test_ledger_breaks_before_a_change(tmp_path: Path, vault: Vault) -> None:
    """A ledger that breaks as the change is to begin: nothing is changed, Vault is not asked, the admin is told so."""
    async with running_broker(tmp_path, store=vault, ledger=Breaking(at=0)) as broker:
        await broker.ready()
        told = await failure(new_key(broker))
        assert told.short == UNAVAILABLE
        assert told.retry_after
        assert told.metadata == {"cause": "disk-full"}
        assert "api-keys/fresh was not changed, since that could not be recorded beforehand" in told.message
        assert "fresh" not in await broker.store.names("api-keys")
        assert not ledger_of(broker).recorded


async def test_ledger_breaks_during_a_change(tmp_path: Path, vault: Vault, log: Log) -> None:
    """A ledger that breaks between the two records: the change is made, that it was begun stands, the admin is told."""
    async with running_broker(tmp_path, store=vault, ledger=Breaking(at=1)) as broker:
        await broker.ready()
        told = await failure(new_key(broker))
        assert told.short == UNAVAILABLE
        assert told.metadata == {"cause": "disk-full", "change": "made"}
        assert (
            "the change of api-keys/fresh was made; that it was begun is on record, its outcome is not" in told.message
        )
        assert "fresh" in await broker.store.names("api-keys")
        assert (only(broker).kind, only(broker).object) == (EventKind.CHANGE_BEGUN, "api-keys/fresh")
        (unfinished,) = await broker.core.ledger.events(EventFilter(unfinished=True))
        assert unfinished.event == only(broker)
    assert "a change was made, and its outcome is not on record" in log.text


@pytest.mark.parametrize("known", [True, False], ids=["not made", "perhaps made"])
async def test_ledger_breaks_during_a_change_that_fails(tmp_path: Path, vault: Vault, log: Log, known: bool) -> None:
    """The caller hears why the change failed, not that the ledger did; the log says what the ledger could not take."""
    async with running_broker(tmp_path, store=vault, ledger=Breaking(at=1)) as broker:
        await broker.ready()
        vault.answers = known
        told = await failure(new_key(broker, "admin" if known else "fresh"))
        vault.answers = True
        assert told.reason == ("API_KEY_EXISTS" if known else "VAULT_UNAVAILABLE")
        assert only(broker).kind is EventKind.CHANGE_BEGUN
    said = "was not made" if known else "may have been made"
    assert f"a change {said}, and its outcome is not on record" in log.text


HOSTILE = [
    "line\nbreak",
    "\x1b[2J\x1b[31mred",
    "nul\0byte",
    "\u202etxt.exe",
    "x" * 1200,
    "\U0001f600" * 300,
    "'\"\\`$(id)",
    "=cmd|' /C calc'!A0",
    "\u2028\u2029\x85",
]


@pytest.mark.parametrize("text", HOSTILE, ids=[ascii(text)[1:12] for text in HOSTILE])
async def test_hostile_words(tmp_path: Path, log: Log, text: str) -> None:
    """Whatever a refused request holds, its record is printable and short, and auditors can read it."""
    limits = {"issue_burst": 1, "issue_per_second": 0.001}
    async with running_broker(tmp_path, limits=limits) as broker:
        await broker.ready()
        grant = grants_pb.CreateGrantRequest(grant=grants_pb.Grant(name=text))
        await failure(broker.grants.CreateGrant(grant, metadata=bearer(OPERATOR_KEY)))
        for _ in range(2):  # The second one is refused before anybody looks at what it says.
            wanted = IssueTokenRequest(resource_id=text, connector=text, purpose=text, permissions=[PERMISSION_READ])
            await failure(broker.tokens.IssueToken(wanted, metadata=bearer(CONSUMER_KEY)))
        page = await broker.ledger.ListEvents(ledger_service_pb2.ListEventsRequest(), metadata=bearer(AUDITOR_KEY))
        first, *_, last = page.events
        assert first.object.startswith("grants/")
        assert (last.principal, last.reason) == ("key:trainer", "RATE_LIMITED")
        for shown in (first.object, last.resource, last.connector, last.purpose):
            assert shown
            assert shown.isascii()
            assert shown.isprintable()
            assert len(shown) <= 310
        if len(text) > 300:
            assert last.resource.endswith("...")
        found = await broker.ledger.VerifyLedger(ledger_service_pb2.VerifyLedgerRequest(), metadata=bearer(AUDITOR_KEY))
        assert found.intact


async def test_a_message_full_of_nothing_is_not_searched_for_secrets(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is refused anyway cannot keep the broker busy with long texts: only their length is on record."""
    searched: list[str] = []
    monkeypatch.setattr(call_recorder, "scrub", lambda text: searched.append(text) or scrub(text))
    wanted = ledger_service_pb2.ListLeasesRequest(resource_id="%2B" * 20_000 + "==")
    await failure(broker.ledger.ListLeases(wanted, metadata=bearer(CONSUMER_KEY)))
    page = await broker.ledger.ListEvents(ledger_service_pb2.ListEventsRequest(), metadata=bearer(AUDITOR_KEY))
    assert page.events[-1].resource == "60002 characters"
    assert max(map(len, searched)) <= 4096


async def test_undecodable_and_refused(broker: Broker) -> None:
    """A refused request that cannot be decoded is on record all the same, and as a refusal."""
    method: Any = broker.channel.unary_unary("/valetkey.v1.GrantService/DeleteGrant")
    assert (await failure(method(b"\xff", metadata=bearer(CONSUMER_KEY)))).reason == "ROLE_REQUIRED"
    assert (only(broker).kind, only(broker).object) == (EventKind.DENIED, "")


def contents(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.glob("ledger.db*"))


async def test_secrets_are_not_on_record(tmp_path: Path) -> None:
    """Of all that passes by, no key, credential or signature is in the ledger, wherever people paste them."""
    limits = {"issue_burst": 3, "issue_per_second": 0.001}
    async with running_broker(tmp_path, limits=limits) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow()
        await new_key(broker)
        given = await issue(broker)
        signature = given.sas_token.partition("sig=")[2].partition("&")[0]
        pasted = [
            f"https://demoaccount.blob.invalid/demo?{given.sas_token}",
            FRESH_KEY,
            f"Bearer {FRESH_KEY}",
        ]
        await failure(broker.tokens.IssueToken(IssueTokenRequest(), metadata=bearer(f"{FRESH_KEY}x")))
        for text in pasted:
            for _ in range(3):
                wanted = IssueTokenRequest(resource_id=text, purpose=text, connector=text)
                await failure(broker.tokens.IssueToken(wanted, metadata=bearer(CONSUMER_KEY)))
            grant = grants_pb.CreateGrantRequest(grant=grants_pb.Grant(name=text))
            for key in (OPERATOR_KEY, ADMIN_KEY):
                await failure(broker.grants.CreateGrant(grant, metadata=bearer(key)))
        await failure(broker.connectors.CreateConnector(new_connector("x"), metadata=bearer(VIEWER_KEY)))
        recorded = await broker.core.ledger.events(EventFilter(limit=1000))
        others = {EventKind.PRUNED, EventKind.CHANGE_RECONCILED, EventKind.ROTATION, EventKind.UNKNOWN}
        others |= {EventKind.KEYS_REVOKED, EventKind.REVOCATION_PROVED}
        assert {stored.event.kind for stored in recorded} == set(EventKind) - others
    on_disk = contents(tmp_path)
    assert b"key:trainer" in on_disk
    for secret in (SECRET, FRESH_KEY, ADMIN_KEY, CONSUMER_KEY, signature, given.sas_token):
        assert secret.encode() not in on_disk
        assert secret not in str(recorded)
