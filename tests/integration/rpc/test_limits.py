"""What the server caps: message size, deadlines, methods; TLS only; request ids; callers that hang up."""

import asyncio
import re
from pathlib import Path

import grpc
import grpc.aio
import pytest

from support.inproc import CONSUMER_KEY, OPERATOR_KEY, Broker, bearer, new_connector, running_broker
from support.wire import Log, eventually, failure
from valetkey.v1.token_service_pb2 import IssueTokenRequest
from valetkey_broker.model import EventFilter, EventKind
from valetkey_broker.rpc.server import server_options

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
    """One connection carries so many calls at once, and one that carries none is given up in the end."""
    options = dict(server_options(broker.settings.server, shared_port=False))
    assert options["grpc.max_concurrent_streams"] == 1000
    assert options["grpc.max_connection_idle_ms"] == 300_000


@pytest.mark.parametrize("own", [None, 60.0], ids=["none given", "longer one"])
async def test_deadline_is_capped(tmp_path: Path, own: float | None) -> None:
    """A call with no deadline, or a longer one, ends at the server's own."""
    async with running_broker(tmp_path, server={"max_deadline_seconds": 0.2}) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow()
        gate = broker.cloud.hold("signing_key")
        told = await failure(broker.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY), timeout=own))
        assert told.short == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert told.metadata == {"limit": "0.2s"}
        assert "0.2 s" in told.message
        gate.set()
        await broker.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY))


async def test_callers_own_deadline_holds(stocked: Broker) -> None:
    """A shorter deadline of the caller's is kept."""
    gate = stocked.cloud.hold("signing_key")
    started = asyncio.get_running_loop().time()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stocked.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY), timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert asyncio.get_running_loop().time() - started < 2
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
