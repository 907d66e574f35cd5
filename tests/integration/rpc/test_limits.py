"""What the server caps: message size, deadlines, methods; TLS only; request ids; callers that hang up."""

import asyncio
import contextlib
import re
import ssl
from pathlib import Path

import grpc
import grpc.aio
import pytest

from support.captured_log import Log
from support.failed_calls import failure
from support.inproc import CONSUMER_KEY, OPERATOR_KEY, VIEWER_KEY, Broker, bearer, running_broker
from support.stopwatch import ends_within
from support.waiting import eventually
from valetkey.v1.connector_service_pb2 import ListConnectorsRequest
from valetkey.v1.token_service_pb2 import IssueTokenRequest
from valetkey_broker.model import EventFilter, EventKind
from valetkey_broker.rpc import server as server_module
from valetkey_broker.rpc.server import server_options
from valetkey_broker.settings import ServerSettings

REQUEST = IssueTokenRequest(resource_id="demo", permissions=[1])
ISSUE = "/valetkey.v1.TokenService/IssueToken"


async def test_message_over_the_cap(tmp_path: Path) -> None:
    """A message over max_message_bytes is refused by the transport; one below it is read."""
    async with running_broker(tmp_path, server={"max_message_bytes": 2048}) as broker:
        await broker.ready()
        call = broker.channel.unary_unary(ISSUE)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\x0a" + b"a" * 2048, metadata=bearer(CONSUMER_KEY))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        below = IssueTokenRequest(resource_id="a" * 2000, permissions=[1])
        assert (await failure(broker.tokens.IssueToken(below, metadata=bearer(CONSUMER_KEY)))).reason == (
            "INVALID_FIELD"
        )


async def test_connections_are_bounded(broker: Broker) -> None:
    """A connection has bounds, and none stays silent for the 240 s after which networks forget it."""
    options = dict(server_options(broker.settings.server, shared_port=False))
    assert options["grpc.max_concurrent_streams"] == 1000
    assert options["grpc.max_allowed_incoming_connections"] == 5000
    assert options["grpc.max_connection_idle_ms"] == 200_000
    assert options["grpc.max_connection_age_ms"] == 600_000
    assert options["grpc.max_connection_age_grace_ms"] == 3_600_000
    assert options["grpc.keepalive_time_ms"] == 60_000
    for setting in ("keepalive_seconds", "max_connection_idle_seconds"):
        with pytest.raises(ValueError, match="240"):
            ServerSettings.model_validate({**broker.settings.server.model_dump(), setting: 240})


@pytest.mark.parametrize("tls", [False, True], ids=["not a byte", "TLS and no HTTP/2"])
async def test_silent_connections_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: bool) -> None:
    """A connection that says nothing takes a file from others: it is given up in time."""
    monkeypatch.setattr(server_module, "_HANDSHAKE_MS", 500)
    async with running_broker(tmp_path) as broker:
        await broker.ready()
        context = ssl.create_default_context(cadata=broker.ca.decode()) if tls else None
        if context is not None:
            context.set_alpn_protocols(["h2"])
        name = "localhost" if tls else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", broker.settings.server.port, ssl=context, server_hostname=name
        )
        async with asyncio.timeout(60):
            with contextlib.suppress(ConnectionError):
                while await reader.read(1000):
                    pass
        writer.close()
        assert await broker.healthy()


def open_calls(broker: Broker) -> int:
    """Returns how many calls the broker's guard holds."""
    return broker.server._guard.open_calls.total


@pytest.mark.parametrize("key", [None, CONSUMER_KEY], ids=["without a key", "with a key"])
async def test_calls_without_a_message(tmp_path: Path, key: str | None) -> None:
    """A call that never sends its message is refused at once without a key, and ends in time with one."""
    async with running_broker(tmp_path, server={"max_deadline_seconds": 0.5}) as broker:
        await broker.ready()
        call = broker.channel.stream_unary(ISSUE)(metadata=bearer(key) if key else ())
        told = await failure(call)
        assert told.reason == ("DEADLINE_EXCEEDED" if key else "CREDENTIALS_MISSING")
        await eventually(lambda: open_calls(broker) == 0)


async def test_calls_that_end_without_a_message(broker: Broker) -> None:
    """A caller who hangs up its side without a message hears what was missing."""
    call = broker.channel.stream_unary(ISSUE)(metadata=bearer(CONSUMER_KEY))
    await call.done_writing()
    told = await failure(call)
    assert (told.reason, told.metadata["field"]) == ("INVALID_FIELD", "request")


async def silent(broker: Broker, key: str, number: int) -> list[grpc.aio.StreamUnaryCall[bytes, bytes]]:
    """Opens calls that never send their message, and returns them once the broker has them."""
    before = open_calls(broker)
    calls = [broker.channel.stream_unary(ISSUE)(metadata=bearer(key)) for _ in range(number)]
    await asyncio.gather(*(call.wait_for_connection() for call in calls))
    await eventually(lambda: open_calls(broker) == before + number)
    return calls


async def test_open_calls_are_bounded(tmp_path: Path) -> None:
    """Beyond the bound a call is told to come back; health answers all the same, and what ended makes room."""
    async with running_broker(tmp_path, server={"max_calls": 4}) as broker:
        await broker.ready()
        waiting = [*await silent(broker, OPERATOR_KEY, 2), *await silent(broker, VIEWER_KEY, 2)]
        told = await failure(broker.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY)))
        assert told.short == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        assert (told.metadata, told.retry_after) == ({"limit": "calls", "per": "broker"}, 1.0)
        assert await broker.healthy()
        for call in waiting:
            call.cancel()
        await eventually(lambda: open_calls(broker) == 0)
        told = await failure(broker.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY)))
        assert told.reason == "RESOURCE_DENIED"


async def test_nobody_takes_all_calls(tmp_path: Path) -> None:
    """One principal may have half of them open, sending nothing as it may; the others are served."""
    async with running_broker(tmp_path, server={"max_calls": 6}) as broker:
        await broker.ready()
        waiting = await silent(broker, CONSUMER_KEY, 3)
        told = await failure(broker.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY)))
        assert (told.reason, told.metadata) == ("RATE_LIMITED", {"limit": "calls", "per": "principal"})
        await broker.connectors.ListConnectors(ListConnectorsRequest(), metadata=bearer(VIEWER_KEY))
        for call in waiting:
            call.cancel()
        await eventually(lambda: open_calls(broker) == 0)
        told = await failure(broker.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY)))
        assert told.reason == "RESOURCE_DENIED"


async def test_strangers_are_not_waited_for_together(broker: Broker) -> None:
    """Health's callers need no key; one address cannot hold more than a hundred calls open without saying a word."""
    calls = [broker.channel.stream_unary("/grpc.health.v1.Health/Check")() for _ in range(120)]
    ended = await asyncio.gather(*(call.code() for call in calls[100:]))
    assert set(ended) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert not any(call.done() for call in calls[:100])
    for call in calls:
        call.cancel()
    await eventually(lambda: open_calls(broker) == 0)
    assert await broker.healthy()


async def test_refusals_of_strangers_are_logged_in_bounds(log: Log, broker: Broker) -> None:
    """Each line names the peer; a flood of them does not fill the disk, and what was left out is counted."""
    for _ in range(60):
        await failure(broker.tokens.IssueToken(REQUEST))
    lines = [line for line in log.events("call") if line["code"] == "UNAUTHENTICATED"]
    lines += [line for line in log.events("call") if line["code"] == "RESOURCE_EXHAUSTED"]
    assert 10 < len(lines) < 40
    assert {line["peer"] for line in lines} == {"127.0.0.1"}
    assert {line["principal"] for line in lines} == {None}


@pytest.mark.parametrize("own", [None, 60.0], ids=["none given", "longer one"])
async def test_deadline_is_capped(stocked: Broker, monkeypatch: pytest.MonkeyPatch, own: float | None) -> None:
    """A call with no deadline, or a longer one, ends at the server's own."""
    gate = stocked.cloud.hold("signing_key")
    # For this call alone: on a busy machine, others may take as long.
    with monkeypatch.context() as patched:
        patched.setattr(stocked.server._guard, "_limit", 0.2)
        told = await failure(stocked.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY), timeout=own))
    assert told.short == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert told.metadata == {"limit": "0.2s"}
    assert "0.2 s" in told.message
    gate.set()
    await stocked.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY))


async def test_callers_own_deadline_holds(stocked: Broker) -> None:
    """A shorter deadline of the caller's is kept."""
    gate = stocked.cloud.hold("signing_key")
    with ends_within(), pytest.raises(grpc.aio.AioRpcError) as caught:
        await stocked.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY), timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    gate.set()


@pytest.mark.parametrize("key", [None, CONSUMER_KEY], ids=["without a key", "with a key"])
@pytest.mark.parametrize(
    "method",
    [
        "/valetkey.v1.TokenService/Nope",
        "/valetkey.v1.TokenService/issueToken",
        "/valetkey.v1.NoService/IssueToken",
        "/valetkey.v2.TokenService/IssueToken",
        "/x",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ],
)
async def test_unknown_method_and_service(broker: Broker, method: str, key: str | None) -> None:
    """What does not exist is UNIMPLEMENTED for everybody, with the name that was asked for."""
    metadata = bearer(key) if key else ()
    told = await failure(broker.channel.unary_unary(method)(b"\xff", metadata=metadata))
    assert told.short == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")
    assert told.metadata == {"method": method}


async def test_unknown_methods_leave_nothing_behind(broker: Broker) -> None:
    """Names that strangers make up are not kept: memory would grow with them."""
    for number in range(20):
        await failure(broker.channel.unary_unary(f"/made.up/Method{number}")(b""))
    told = await failure(broker.channel.unary_unary("/" + "x" * 2000)(b""))
    assert told.metadata == {"method": "/" + "x" * 119}


async def test_method_that_the_health_service_leaves_out(broker: Broker) -> None:
    """Health.List, which the library does not serve, is UNIMPLEMENTED like any other missing method."""
    told = await failure(broker.channel.unary_unary("/grpc.health.v1.Health/List")(b""))
    assert told.short == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")


async def test_plaintext_fails(stocked: Broker) -> None:
    """There is no plaintext port: a client without TLS gets no answer, and the key it sent reached nobody."""
    async with grpc.aio.insecure_channel(stocked.endpoint) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(ISSUE)(REQUEST.SerializeToString(), metadata=bearer(CONSUMER_KEY), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    await stocked.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY))


async def test_certificate_of_a_stranger(stocked: Broker, tmp_path: Path) -> None:
    """A client that trusts another CA does not talk to this broker."""
    (tmp_path / "other").mkdir()
    async with running_broker(tmp_path / "other") as other:
        credentials = grpc.ssl_channel_credentials(other.ca)
        async with grpc.aio.secure_channel(stocked.endpoint, credentials) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(ISSUE)(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("given", ["a", "build-42", "A.b_c-9", "x" * 64])
async def test_harmless_request_id_is_kept(log: Log, broker: Broker, given: str) -> None:
    """A caller's request id comes back and stands on the log line."""
    metadata = (*bearer(CONSUMER_KEY), ("x-request-id", given))
    told = await failure(broker.tokens.IssueToken(REQUEST, metadata=metadata))
    assert told.request_id == given
    assert [line["request_id"] for line in log.events("call") if line["code"] != "OK"] == [given]


@pytest.mark.parametrize("given", ["", "two words", "x" * 65, 'a"b', "a{b}", "id=1;drop", "a/b", "a,b"])
async def test_hostile_request_id_is_replaced(log: Log, broker: Broker, given: str) -> None:
    """What could forge a log line or confuse a reader is replaced, not cleaned."""
    metadata = (*bearer(CONSUMER_KEY), ("x-request-id", given))
    told = await failure(broker.tokens.IssueToken(REQUEST, metadata=metadata))
    assert re.fullmatch(r"[0-9a-f]{16,24}", told.request_id)
    if given:
        assert given not in log.text


async def test_request_id_in_every_record(stocked: Broker) -> None:
    """The record carries the request id too, and concurrent calls keep theirs apart."""
    ids = [f"call-{number}" for number in range(20)]
    answers = await asyncio.gather(
        *(
            stocked.tokens.IssueToken(REQUEST, metadata=(*bearer(CONSUMER_KEY), ("x-request-id", given)))
            for given in ids
        )
    )
    recorded = await stocked.core.ledger.events(EventFilter(kind=EventKind.TOKEN_ISSUED))
    kept = {stored.event.lease_id: stored.event.request_id for stored in recorded}
    assert kept == {answer.lease_id: given for answer, given in zip(answers, ids, strict=True)}


async def test_caller_that_hangs_up(log: Log, stocked: Broker) -> None:
    """A caller who cancels gets no token, leaves no error, and does not take away the key others wait for."""
    gate = stocked.cloud.hold("signing_key")
    impatient = stocked.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY))
    await eventually(lambda: stocked.cloud.calls["signing_key"] == 2)  # One was for verifying.
    patient = stocked.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY))
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    await asyncio.sleep(0.05)
    gate.set()
    assert (await patient).sas_token
    assert stocked.cloud.calls["signing_key"] == 2
    assert stocked.cloud.calls["sign"] == 1
    assert not log.events("unexpected error")
