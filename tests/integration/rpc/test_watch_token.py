"""WatchToken over the wire: tokens in time, ends with reasons, and slots that come back."""

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration

from support.failed_calls import Failure, as_failure, failure
from support.fake_ledger import FakeLedger, ledger_down
from support.inproc import (
    ADMIN_KEY,
    CONSUMER_KEY,
    OPERATOR_KEY,
    VIEWER_KEY,
    Broker,
    api_key_document,
    bearer,
    make_key,
    new_connector,
    running_broker,
)
from support.oidc import SUBJECT, IssuerServer
from support.spiffe import DOMAIN, WORKLOAD, SpiffeCa
from support.stopwatch import ends_within
from support.waiting import eventually
from valetkey.v1 import api_key_service_pb2, connector_service_pb2, grant_service_pb2, token_service_pb2_grpc
from valetkey.v1 import token_service_pb2 as pb
from valetkey_broker.errors import Reason
from valetkey_broker.model import EventKind
from valetkey_devstack.free_ports import free_port

EXHAUSTED = (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
WATCH = "/valetkey.v1.TokenService/WatchToken"

Stream = Any


def request(ttl: int | None = None, **fields: Any) -> pb.WatchTokenRequest:
    wanted = pb.IssueTokenRequest(**{"resource_id": "demo", "permissions": [1], **fields})
    if ttl is not None:
        wanted.ttl.CopyFrom(Duration(seconds=ttl))
    return pb.WatchTokenRequest(request=wanted)


def watch(broker: Broker, ttl: int | None = None, *, key: str = CONSUMER_KEY, **fields: Any) -> Stream:
    return broker.tokens.WatchToken(request(ttl, **fields), metadata=bearer(key))


async def token(stream: Stream, seconds: float = 30.0) -> pb.IssueTokenResponse:
    """Returns the next message, which has to be a token."""
    async with asyncio.timeout(seconds):
        message = await stream.read()
    assert message is not grpc.aio.EOF
    assert message.WhichOneof("message") == "token", message
    fresh: pb.IssueTokenResponse = message.token
    return fresh


async def end(stream: Stream, seconds: float = 30.0) -> str:
    """Returns why the stream ends: in time, with the end as its last message and a good status."""
    async with asyncio.timeout(seconds):
        message = await stream.read()
        while message is not grpc.aio.EOF and message.WhichOneof("message") == "token":
            message = await stream.read()
        assert message is not grpc.aio.EOF, await stream.details()
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK
    assert message.end.message
    return pb.WatchEndReason.Name(message.end.reason).removeprefix("WATCH_END_REASON_")


async def refused(stream: Stream) -> Failure:
    """Returns how a stream is refused that must not begin."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await token(stream)
    return as_failure(caught.value)


@contextlib.asynccontextmanager
async def stocked_broker(directory: Path, **options: Any) -> AsyncIterator[Broker]:
    """A broker with a ledger to look at, the connector `azure-blob-demo`, and a grant for `key:trainer`."""
    async with running_broker(directory, ledger=options.pop("ledger", None) or FakeLedger(), **options) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow()
        yield broker


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with stocked_broker(tmp_path) as running:
        yield running


def ledger_of(broker: Broker) -> FakeLedger:
    ledger = broker.core.ledger
    assert isinstance(ledger, FakeLedger)
    return ledger


async def test_tokens_in_time(broker: Broker) -> None:
    """The first token comes at once, the next ones before each ends, all like IssueToken's and all on record."""
    stream = watch(broker, 3, purpose="run 17")
    tokens = [await token(stream)]
    assert time.time() < tokens[0].expire_time.seconds
    for _ in range(2):
        tokens.append(await token(stream))
        assert time.time() < tokens[-2].expire_time.seconds
    single = await broker.tokens.IssueToken(request(3).request, metadata=bearer(CONSUMER_KEY))
    for each in tokens:
        assert {name for name, _ in each.ListFields()} == {name for name, _ in single.ListFields()}
        assert "sig=" in each.sas_token
        assert (each.grant, each.connector, each.resource.url) == (single.grant, single.connector, single.resource.url)
    issued = ledger_of(broker).of(EventKind.TOKEN_ISSUED)[:3]
    assert [event.lease_id for event in issued] == [each.lease_id for each in tokens]
    assert len({event.signature_sha256 for event in issued}) == 3
    assert {(event.method, event.principal, event.purpose, event.peer) for event in issued} == {
        (WATCH, "key:trainer", "run 17", "127.0.0.1")
    }
    stream.cancel()


async def test_heartbeats(broker: Broker) -> None:
    """Whoever asks gets a sign of life after each silence, whatever interval it asks; others get none."""
    old = watch(broker)
    asked = request()
    asked.heartbeat_interval.CopyFrom(Duration(nanos=1))
    began = time.monotonic()
    stream = broker.tokens.WatchToken(asked, metadata=bearer(CONSUMER_KEY))
    await token(old)
    await token(stream)
    silent = asyncio.ensure_future(old.read())
    kinds = [(await stream.read()).WhichOneof("message") for _ in range(2)]
    assert kinds == ["heartbeat", "heartbeat"]
    assert time.monotonic() - began > 1.9
    assert not silent.done()
    await take_away(broker, "grant")
    while (message := await stream.read()).WhichOneof("message") == "heartbeat":
        pass
    assert message.end.reason == pb.WATCH_END_REASON_GRANT_GONE
    assert (await silent).end.reason == pb.WATCH_END_REASON_GRANT_GONE


async def take_away(broker: Broker, what: str) -> None:
    if what == "grant":
        await broker.grants.DeleteGrant(
            grant_service_pb2.DeleteGrantRequest(name="training"), metadata=bearer(ADMIN_KEY)
        )
    elif what == "key":
        await broker.api_keys.RevokeApiKey(
            api_key_service_pb2.RevokeApiKeyRequest(name="trainer"), metadata=bearer(ADMIN_KEY)
        )
    else:
        await broker.connectors.DeleteConnector(
            connector_service_pb2.DeleteConnectorRequest(name="azure-blob-demo"), metadata=bearer(OPERATOR_KEY)
        )
        if what == "connector, and made anew":
            await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("grant", "GRANT_GONE"),
        ("key", "IDENTITY_REVOKED"),
        ("connector", "CONNECTOR_GONE"),
        ("connector, and made anew", "CONNECTOR_GONE"),
    ],
)
async def test_taken_away(broker: Broker, what: str, why: str) -> None:
    """Within five seconds the stream says why it ends, and nothing more is issued."""
    stream = watch(broker)
    await token(stream)
    await take_away(broker, what)
    assert await end(stream) == why
    assert len(ledger_of(broker).of(EventKind.TOKEN_ISSUED)) == 1


async def test_taken_away_through_another_replica(broker: Broker, tmp_path: Path) -> None:
    """A grant deleted through one broker ends the streams of another within five seconds."""
    (tmp_path / "other").mkdir()
    async with running_broker(tmp_path / "other", store=broker.store, ledger=FakeLedger()) as other:
        await other.ready()
        stream = watch(other)
        await token(stream)
        await take_away(broker, "grant")
        assert await end(stream) == "GRANT_GONE"


async def test_key_expires(broker: Broker) -> None:
    """A stream does not outlive the API key it was opened with."""
    key = make_key("S")
    await broker.allow("key:short", name="for-short")
    expires = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=3)
    await broker.store.write("api-keys/short", api_key_document(key, expires=expires.isoformat()), expected=0)
    await broker.core.repository.load()
    stream = watch(broker, key=key)
    await token(stream)
    assert await end(stream) == "IDENTITY_EXPIRED"
    assert expires.timestamp() <= time.time() < expires.timestamp() + 30


async def test_jwt_expires(tmp_path: Path) -> None:
    """A stream does not outlive the token it was opened with; with the next one it goes on."""
    async with IssuerServer(tmp_path / "issuer").running() as issuer:
        oidc = {"issuer": issuer.url, "audience": "valetkey", "ca_file": issuer.ca_file, "leeway_seconds": 0}
        async with stocked_broker(tmp_path, authn={"oidc": [oidc]}) as broker:
            await broker.allow(f"oidc:{issuer.url}#{SUBJECT}", name="for-pods")
            expires = int(time.time()) + 3
            jwt = issuer.mint(exp=expires)
            stream = watch(broker, key=jwt)
            await token(stream)
            assert await end(stream) == "IDENTITY_EXPIRED"
            assert expires <= time.time() < expires + 30
            assert (await refused(watch(broker, key=jwt))).reason == "CREDENTIALS_EXPIRED"
            stream = watch(broker, key=issuer.mint())
            await token(stream)
            stream.cancel()


async def test_certificate_expires(tmp_path: Path) -> None:
    """A stream does not outlive the client certificate, though its connection does."""
    ca, port = SpiffeCa(), free_port()
    (tmp_path / "bundle.pem").write_bytes(ca.pem)
    mtls = {"port": port, "trust_domains": {DOMAIN: tmp_path / "bundle.pem"}}
    async with stocked_broker(tmp_path, authn={"mtls": mtls}) as broker:
        await broker.allow(WORKLOAD, name="for-workloads")
        svid = ca.issue(ends=dt.timedelta(seconds=4))
        expires = svid.leaf.not_valid_after_utc.timestamp()
        credentials = grpc.ssl_channel_credentials(broker.ca, svid.key, svid.chain)
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            stream: Stream = token_service_pb2_grpc.TokenServiceStub(channel).WatchToken(request())
            await token(stream)
            assert await end(stream) == "IDENTITY_EXPIRED"
            assert expires <= time.time() < expires + 30
        (event,) = ledger_of(broker).of(EventKind.TOKEN_ISSUED)
        assert (event.principal, event.authentication) == (WORKLOAD, "mtls")


async def test_shutdown(tmp_path: Path) -> None:
    """At shutdown streams end with a reason, and the broker does not wait its whole grace for them."""
    async with stocked_broker(tmp_path, server={"grace_seconds": 60}) as broker:
        streams = [watch(broker) for _ in range(5)]
        for stream in streams:
            await token(stream)
        with ends_within(30):
            stopping = asyncio.create_task(broker.server.stop())
            assert [await end(stream) for stream in streams] == ["SHUTDOWN"] * 5
            await stopping


async def test_shutdown_with_a_reader_that_hangs(tmp_path: Path) -> None:
    """A client that reads nothing does not keep the broker from stopping within its grace."""
    async with stocked_broker(tmp_path, server={"grace_seconds": 2}) as broker:
        stream = watch(broker)
        await eventually(lambda: bool(ledger_of(broker).of(EventKind.TOKEN_ISSUED)))
        with ends_within():
            await broker.server.stop()
        stream.cancel()


async def test_cap_of_a_principal(tmp_path: Path) -> None:
    """One principal has so many streams and no more, single tokens and other principals are not concerned."""
    async with stocked_broker(tmp_path, limits={"streams": 2}) as broker:
        await broker.allow("key:eyes", name="other")
        streams = [watch(broker), watch(broker)]
        for stream in streams:
            await token(stream)
        told = await refused(watch(broker))
        assert told.short == EXHAUSTED
        assert told.metadata == {"limit": "streams", "per": "principal"}
        assert told.retry_after == 10
        await broker.tokens.IssueToken(request().request, metadata=bearer(CONSUMER_KEY))
        other = watch(broker, key=VIEWER_KEY)
        await token(other)
        (event,) = ledger_of(broker).of(EventKind.DENIED)
        assert (event.principal, event.reason, event.resource) == ("key:trainer", "RATE_LIMITED", "demo")
        for stream in (*streams, other):
            stream.cancel()


async def opened(broker: Broker) -> Stream:
    """Opens a stream as soon as there is a slot."""
    async with asyncio.timeout(30):
        while True:
            stream = watch(broker)
            with contextlib.suppress(grpc.aio.AioRpcError):
                await token(stream)
                return stream
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", ["cancel", "unread", "connection", "deadline", "end", "refusal"])
async def test_slot_comes_back(tmp_path: Path, how: str) -> None:
    """However a stream ends, its slot is free at once."""
    async with stocked_broker(tmp_path, limits={"streams": 1}) as broker:
        if how == "connection":
            credentials = grpc.ssl_channel_credentials(broker.ca)
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.secure_channel(broker.endpoint, credentials, options) as channel:
                stub = token_service_pb2_grpc.TokenServiceStub(channel)
                await token(stub.WatchToken(request(), metadata=bearer(CONSUMER_KEY)))
        elif how == "deadline":
            stream: Stream = broker.tokens.WatchToken(request(), metadata=bearer(CONSUMER_KEY), timeout=0.5)
            assert await stream.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        elif how == "end":
            stream = watch(broker)
            await token(stream)
            await take_away(broker, "grant")
            await end(stream)
            await broker.allow(name="again")
        elif how == "refusal":
            await refused(watch(broker, resource_id="secret"))
        else:
            stream = watch(broker)
            if how == "cancel":
                await token(stream)
            else:
                await eventually(lambda: bool(ledger_of(broker).of(EventKind.TOKEN_ISSUED)))
            stream.cancel()
        (await opened(broker)).cancel()


async def test_many_streams_that_are_cancelled(tmp_path: Path) -> None:
    """Opening and cancelling a hundred times, at whatever point, leaks no slot."""
    async with stocked_broker(tmp_path, limits={"streams": 3}) as broker:
        for number in range(100):
            stream = watch(broker)
            await asyncio.sleep(0.001 * (number % 8))
            stream.cancel()
        streams = [await opened(broker) for _ in range(3)]
        assert (await refused(watch(broker))).short == EXHAUSTED
        for stream in streams:
            stream.cancel()


async def test_denied_like_a_single_token(broker: Broker) -> None:
    """A stream that no grant allows is refused in the same words as a token, costs nothing, and is on record."""
    calls = dict(broker.cloud.calls)
    told = await refused(watch(broker, resource_id="secret", permissions=[1, 2], purpose="for fun"))
    same = await failure(
        broker.tokens.IssueToken(
            request(resource_id="secret", permissions=[1, 2], purpose="for fun").request,
            metadata=bearer(CONSUMER_KEY),
        )
    )
    assert (told.short, told.message, told.metadata) == (same.short, same.message, same.metadata)
    assert dict(broker.cloud.calls) == calls
    first, second = ledger_of(broker).of(EventKind.DENIED)
    assert (first.resource, first.permissions, first.purpose, first.reason) == (
        "secret",
        second.permissions,
        "for fun",
        "RESOURCE_DENIED",
    )
    assert len(first.permissions) == 2
    assert (first.principal, first.peer, first.method) == ("key:trainer", "127.0.0.1", WATCH)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ttl": -1}, "INVALID_FIELD"),
        ({"ttl": 10**9}, "INVALID_FIELD"),
        ({"permissions": []}, "INVALID_FIELD"),
        ({"permissions": [99]}, "INVALID_FIELD"),
        ({"resource_id": "a/../b"}, "INVALID_FIELD"),
        ({"purpose": "two\nlines"}, "INVALID_FIELD"),
        ({"source_ip": "nowhere"}, "INVALID_FIELD"),
    ],
)
async def test_first_token_malformed(broker: Broker, fields: dict[str, Any], reason: str) -> None:
    """What is malformed is an ordinary error of the call, before any message."""
    assert (await refused(watch(broker, **fields))).reason == reason


async def test_first_token_without_azure_or_ledger(broker: Broker) -> None:
    """Where the first token cannot be had the call fails with the reason, and nothing leaves."""
    broker.cloud.fail("signing_key", Reason.CLOUD_UNAVAILABLE, times=1)
    assert (await refused(watch(broker))).reason == "CLOUD_UNAVAILABLE"
    ledger_of(broker).fail_with = ledger_down()
    told = await refused(watch(broker))
    assert told.short == (grpc.StatusCode.UNAVAILABLE, "LEDGER_UNAVAILABLE")
    ledger_of(broker).fail_with = None
    assert not ledger_of(broker).of(EventKind.TOKEN_ISSUED)


async def test_ledger_goes_away_and_comes_back(broker: Broker) -> None:
    """A stream outlives a ledger that is away for less than a token's life; meanwhile nothing comes."""
    stream = watch(broker, 16)
    await token(stream)
    ledger_of(broker).fail_with = ledger_down()
    upcoming = asyncio.create_task(token(stream, 17))
    await asyncio.sleep(12.3)
    assert not upcoming.done()
    ledger_of(broker).fail_with = None
    await upcoming
    stream.cancel()


async def test_ledger_stays_away(broker: Broker) -> None:
    """Without a record there is no token: the stream ends with the last one."""
    stream = watch(broker, 2)
    last = await token(stream)
    ledger_of(broker).fail_with = ledger_down()
    assert await end(stream) == "UNAVAILABLE"
    assert time.time() >= last.expire_time.seconds - 0.1
    assert len(ledger_of(broker).of(EventKind.TOKEN_ISSUED)) == 1


async def test_vault_away_for_too_long(tmp_path: Path) -> None:
    """Open streams get nothing more once memory is too old to be believed, no more than new calls do."""
    async with stocked_broker(tmp_path, vault={"max_stale_seconds": 0.3, "poll_seconds": 0.05}) as broker:
        stream = watch(broker, 2)
        await token(stream)
        broker.store.fail_with = ledger_down()
        await broker.ready(serving=False)
        assert await end(stream) == "UNAVAILABLE"
        assert len(ledger_of(broker).of(EventKind.TOKEN_ISSUED)) == 1
        broker.store.fail_with = None


async def test_streams_are_part_of_the_limit(tmp_path: Path) -> None:
    """Renewals count as issuing: many streams of tiny tokens do not get around the limit of a principal."""
    limits = {"issue_burst": 5, "issue_per_second": 0.001}
    async with stocked_broker(tmp_path, limits=limits) as broker:
        streams = [watch(broker, 1) for _ in range(4)]
        assert [await end(stream) for stream in streams] == ["UNAVAILABLE"] * 4
        assert len(ledger_of(broker).of(EventKind.TOKEN_ISSUED)) == 5
