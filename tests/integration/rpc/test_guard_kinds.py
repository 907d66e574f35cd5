"""The guard before all four kinds of methods; the API has only one of them today."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest

from support.captured_log import Log
from support.core import no_news
from support.failed_calls import Failure, as_failure
from support.fake_ledger import FakeLedger
from support.inproc import CONSUMER_KEY, VIEWER_KEY, api_key_document, bearer
from valetkey_broker.api.methods import METHODS
from valetkey_broker.authn.authenticator import build_authenticator
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.limits.throttle import Throttle
from valetkey_broker.rpc.call_recorder import Recorder
from valetkey_broker.rpc.current_call import caller
from valetkey_broker.rpc.guard import Guard
from valetkey_broker.settings import AuthnSettings, LimitsSettings
from valetkey_broker.state.catching_up import CatchingUp
from valetkey_broker.state.codec import decode_api_key
from valetkey_broker.state.memory import Memory

KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]
LISTED = "/valetkey.v1.ConnectorService/GetConnector"
UNLISTED = "/valetkey.v1.ConnectorService/NobodyThoughtOfIt"


def decoded(raw: bytes) -> str:
    if raw == b"\xff":
        raise ValueError("PLANTED words of a decoder")
    return raw.decode()


@dataclass
class Answer:
    """What methods return, to be encoded by the handler's own encoder."""

    text: str

    def encoded(self) -> bytes:
        return self.text.encode()


async def one(request: str, _context: Any) -> Answer:
    """Answers one message; `refuse` and `break` make it fail."""
    if request == "refuse":
        raise BrokerError(Reason.CONFLICT, "refused", {"object": "x"})
    if request == "break":
        raise RuntimeError("PLANTED secret")
    return Answer(f"{caller().name} said {request}")


async def joined(requests: AsyncIterator[str], context: Any) -> Answer:
    return Answer(" ".join([(await one(request, context)).text async for request in requests]))


async def repeated(request: str, context: Any) -> AsyncIterator[Answer]:
    yield await one("first", context)
    yield await one(request, context)


async def each(requests: AsyncIterator[str], context: Any) -> AsyncIterator[Answer]:
    async for request in requests:
        yield await one(request, context)


BEHAVIORS = {"unary_unary": one, "unary_stream": repeated, "stream_unary": joined, "stream_stream": each}


@dataclass
class Guarded:
    """A guarded server with one method of one kind, under two names."""

    kind: str
    channel: grpc.aio.Channel
    usable: list[BrokerError]

    async def call(self, *messages: bytes, key: str | None = VIEWER_KEY, method: str = LISTED) -> list[bytes]:
        """Sends messages and returns what came back; raises AioRpcError with those attached that came before."""
        stub = getattr(self.channel, self.kind)(method)
        argument: Any = iter(messages) if self.kind.startswith("stream") else messages[-1]
        call = stub(argument, metadata=bearer(key) if key else (), timeout=60)
        if self.kind.endswith("unary"):
            return [await call]
        return [answer async for answer in call]

    async def fails(self, *messages: bytes, **options: Any) -> Failure:
        """Returns the refusal of a call.

        An answer that comes amid the sending of a message is lost in grpc.aio's own client (grpcio 1.85.1), which tells
        of an internal error in its place: then the call is made again.
        """
        for _ in range(10):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await self.call(*messages, **options)
            if caught.value.details() != "Internal error from Core":
                break
        return as_failure(caught.value)


def no_issuers(issuer: Any) -> Any:
    raise AssertionError("no issuer is configured")


@pytest.fixture(params=KINDS)
async def guarded(request: pytest.FixtureRequest, log: Log) -> AsyncIterator[Guarded]:
    memory = Memory()
    memory.put_api_key(decode_api_key("eyes", api_key_document(VIEWER_KEY, "viewer")))
    memory.put_api_key(decode_api_key("trainer", api_key_document(CONSUMER_KEY)))
    refusals: list[BrokerError] = []

    def usable() -> None:
        if refusals:
            raise refusals[0]

    authenticator = build_authenticator(
        AuthnSettings(), memory, lambda: 0.0, key_source=no_issuers, trust=None, catch_up=no_news
    )
    guard = Guard(
        methods=METHODS,
        authenticator=authenticator,
        require_usable=usable,
        max_deadline_seconds=5,
        max_calls=100,
        throttle=Throttle(LimitsSettings(), lambda: 0.0),
        recorder=Recorder(FakeLedger(), lambda: 0.0),
        catching_up=CatchingUp(no_news),
    )
    kind: str = request.param
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    handler = make(BEHAVIORS[kind], request_deserializer=decoded, response_serializer=Answer.encoded)
    service = {name.rpartition("/")[2]: handler for name in (LISTED, UNLISTED)}
    guard.add_registered_method_handlers("valetkey.v1.ConnectorService", service)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((guard,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Guarded(kind, channel, refusals)
    await server.stop(None)


async def test_success(guarded: Guarded, log: Log) -> None:
    """Every kind is served, decoded and encoded, under its caller's name, and logged once."""
    answers = await guarded.call(b"hello")
    assert answers[-1] == b"key:eyes said hello"
    (line,) = log.events("call")
    assert (line["method"], line["code"], line["principal"]) == (LISTED, "OK", "key:eyes")


async def test_without_a_key(guarded: Guarded) -> None:
    """No kind of method is open."""
    assert (await guarded.fails(b"hello", key=None)).reason == "CREDENTIALS_MISSING"


async def test_without_the_role(guarded: Guarded) -> None:
    """No kind of method forgets the role."""
    told = await guarded.fails(b"hello", key=CONSUMER_KEY)
    assert told.short == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")


async def test_method_nobody_listed(guarded: Guarded) -> None:
    """A method that is served but stands in no table is refused to everybody."""
    told = await guarded.fails(b"hello", method=UNLISTED)
    assert told.short == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    assert told.metadata == {"method": UNLISTED, "needs": "nobody"}


async def test_broker_not_usable(guarded: Guarded) -> None:
    """No kind is served while memory cannot be trusted."""
    guarded.usable.append(BrokerError(Reason.NOT_SERVING, "starting", retry_after=2))
    told = await guarded.fails(b"hello")
    assert told.short == (grpc.StatusCode.UNAVAILABLE, "NOT_SERVING")
    assert told.retry_after == 2


async def test_refusal(guarded: Guarded, log: Log) -> None:
    """A refusal, also one after the first answer of a stream, arrives whole and is logged with its reason."""
    told = await guarded.fails(b"hello", b"refuse")
    assert told.short == (grpc.StatusCode.ABORTED, "CONFLICT")
    assert told.metadata == {"object": "x"}
    assert [line["reason"] for line in log.events("call")] == ["CONFLICT"]


async def test_unexpected_error(guarded: Guarded, log: Log) -> None:
    """An unexpected error of any kind of method tells a request id and no text."""
    told = await guarded.fails(b"hello", b"break")
    assert told.short == (grpc.StatusCode.INTERNAL, "UNSPECIFIED")
    assert "PLANTED" not in str(told.error)
    assert "PLANTED" not in log.text
    assert [line["request_id"] for line in log.events("unexpected error")] == [told.request_id]


async def test_undecodable_request(guarded: Guarded, log: Log) -> None:
    """A decoder's words reach neither the caller nor the log, whatever the kind."""
    told = await guarded.fails(b"hello", b"\xff")
    assert told.short == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert told.metadata["field"] == "request"
    assert "PLANTED" not in str(told.error)
    assert "PLANTED" not in log.text
