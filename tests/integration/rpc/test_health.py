"""Health, reflection, and how a broker starts, outlives Vault, and stops."""

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from support.captured_log import Log
from support.failed_calls import as_failure, failure
from support.fake_store import FakeStateStore
from support.inproc import CONSUMER_KEY, OPERATOR_KEY, Broker, bearer, new_connector, running_broker, seed_keys
from support.stopwatch import ends_within
from support.waiting import eventually
from valetkey.v1.token_service_pb2 import IssueTokenRequest
from valetkey_broker.api.services import SERVICE_NAMES
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.rpc.health import MOST_WATCHES, MOST_WATCHES_OF_ONE, Health

REQUEST = IssueTokenRequest(resource_id="demo", permissions=[1])
AWAY = BrokerError(Reason.VAULT_UNAVAILABLE, "Vault cannot be used: the fake is away", {"cause": "unreachable"})
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_not_serving_before_vault_answers(log: Log, tmp_path: Path) -> None:
    """A broker without Vault is up, says NOT_SERVING, tells callers to come back, logs why, and recovers."""
    store = FakeStateStore()
    await seed_keys(store)
    store.fail_with = AWAY
    async with running_broker(tmp_path, store=store) as broker:
        assert not await broker.healthy()
        told = await failure(broker.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY)))
        assert told.short == (grpc.StatusCode.UNAVAILABLE, "NOT_SERVING")
        assert told.retry_after == 2
        for service in SERVICE_NAMES:
            assert not await broker.healthy(service)
        await eventually(lambda: bool(log.events("Vault is not usable yet; trying again")))
        line = log.events("Vault is not usable yet; trying again")[0]
        assert (line["cause"], line["error"]) == ("unreachable", AWAY.message)
        store.fail_with = None
        await broker.ready()
        for service in SERVICE_NAMES:
            assert await broker.healthy(service)
        told = await failure(broker.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY)))
        assert told.reason == "RESOURCE_DENIED"


async def test_unknown_service_has_no_health(log: Log, broker: Broker) -> None:
    """The health service's own refusal passes through the guard, and is no error of the broker's."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await broker.healthy("valetkey.v1.NoService")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert not log.events("unexpected error")


async def test_issuing_outlives_vault_for_a_while(stocked: Broker) -> None:
    """With Vault away, tokens are issued from memory; what needs Vault says so."""
    await stocked.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY))
    stocked.store.fail_with = AWAY
    polls = stocked.store.calls["read"]
    await eventually(lambda: stocked.store.calls["read"] > polls + 2)
    assert await stocked.healthy()
    assert (await stocked.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY))).sas_token
    told = await failure(stocked.connectors.CreateConnector(new_connector("b"), metadata=bearer(OPERATOR_KEY)))
    assert told.short == (grpc.StatusCode.UNAVAILABLE, "VAULT_UNAVAILABLE")
    assert told.metadata == {"cause": "unreachable"}


async def test_memory_that_is_too_old(log: Log, tmp_path: Path) -> None:
    """After max_stale_seconds without Vault nothing is issued and health says so; both come back with Vault."""
    async with running_broker(tmp_path, vault={"max_stale_seconds": 0.2, "poll_seconds": 0.05}) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow()
        broker.store.fail_with = AWAY
        await broker.ready(serving=False)
        told = await failure(broker.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY)))
        assert told.short == (grpc.StatusCode.UNAVAILABLE, "VAULT_UNAVAILABLE")
        assert told.metadata == {}
        assert told.retry_after
        broker.store.fail_with = None
        await broker.ready()
        assert (await broker.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY))).sas_token
    events = [line["event"] for line in log.lines]
    order = ["serving", "Vault is away; serving from memory", "not serving: memory is too old", "Vault is back"]
    assert [event for event in events if event in order][: len(order)] == order


async def test_stop_lets_calls_in_flight_finish(tmp_path: Path) -> None:
    """At stop health says NOT_SERVING first, new calls are refused, and the one in flight gets its token."""
    async with running_broker(tmp_path, server={"grace_seconds": 60}) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow()
        watch = broker.health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        gate = broker.cloud.hold("signing_key")
        in_flight = broker.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY))
        await eventually(lambda: broker.cloud.calls["signing_key"] == 2)
        stopping = asyncio.ensure_future(broker.server.stop())
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()
        credentials = grpc.ssl_channel_credentials(broker.ca)
        async with grpc.aio.secure_channel(broker.endpoint, credentials) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/valetkey.v1.TokenService/IssueToken")(b"", timeout=1)
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        gate.set()
        assert (await in_flight).sas_token
        await stopping


async def test_stop_ends_within_the_grace_period(tmp_path: Path) -> None:
    """A call that does not end in time is cut off; the broker does not wait for it for ever."""
    async with running_broker(tmp_path, server={"grace_seconds": 0.3}) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow()
        broker.cloud.hold("signing_key")
        in_flight = broker.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY))
        await eventually(lambda: broker.cloud.calls["signing_key"] == 2)
        started = time.monotonic()
        with ends_within():
            await broker.server.stop()
        assert time.monotonic() - started > 0.25
        with pytest.raises(grpc.aio.AioRpcError):
            await in_flight
    assert broker.cloud.closed
    assert broker.store.closed


async def test_stop_does_not_wait_for_those_who_watch(tmp_path: Path) -> None:
    """Open health watches, also of services that are not there, hear the last news and end; none takes the grace."""
    async with running_broker(tmp_path, server={"grace_seconds": 60}) as broker:
        await broker.ready()
        watches = [
            broker.health.Watch(health_pb2.HealthCheckRequest(service=name)) for name in ("", "x", SERVICE_NAMES[0])
        ]
        first = [(await watch.read()).status for watch in watches]
        assert first == [SERVING, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN, SERVING]
        with ends_within(30):
            await broker.server.stop()
        last = [await watch.read() for watch in watches]
        assert [answer and answer.status for answer in last] == [NOT_SERVING, grpc.aio.EOF, NOT_SERVING]
        for watch in watches:
            assert not await watch.read(), "that was the last"
            assert await watch.code() is grpc.StatusCode.OK


async def test_watches_of_one_address_are_bounded(log: Log, broker: Broker) -> None:
    """Strangers cannot pile up streams without end; Check goes on, and a place that gets free is given again."""
    watches = [broker.health.Watch(health_pb2.HealthCheckRequest()) for _ in range(MOST_WATCHES_OF_ONE)]
    for watch in watches:
        assert (await watch.read()).status == SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await broker.health.Watch(health_pb2.HealthCheckRequest()).read()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "from this address" in str(caught.value.details())
    assert await broker.healthy()
    for watch in watches:
        watch.cancel()
    await eventually(lambda: broker.server._health._watches == 0)
    watch = broker.health.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    watch.cancel()
    assert not log.events("unexpected error")


class Aborted(Exception):  # noqa: N818 (it is how gRPC ends a call)
    """What a call's context raises to end it."""


class From:
    """The context of a call from an address, as far as the health service uses it."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self.said: list[Any] = []

    def peer(self) -> str:
        return self._peer

    async def write(self, answer: Any) -> None:
        self.said.append(answer.status)

    async def abort(self, code: Any, details: str) -> None:
        self.said.append(code)
        raise Aborted(details)


async def test_watches_are_bounded() -> None:
    """Many addresses together get so many streams; one network of IPv6 counts as one; all places come back."""
    health = Health()
    health.set("", SERVING)

    async def watch(peer: str) -> tuple[From, asyncio.Task[None]]:
        context = From(peer)
        task = asyncio.create_task(health.Watch(health_pb2.HealthCheckRequest(), context))
        await asyncio.sleep(0)
        return context, task

    same = [await watch(f"ipv6:%5B2001:db8::{number:x}%5D:443") for number in range(MOST_WATCHES_OF_ONE + 1)]
    others = [await watch(f"ipv4:192.0.2.{number}:443") for number in range(MOST_WATCHES)]
    said = [context.said for context, _ in (*same, *others)]
    assert said.count([SERVING]) == MOST_WATCHES
    assert said[MOST_WATCHES_OF_ONE] == [grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert said[-1] == [grpc.StatusCode.RESOURCE_EXHAUSTED]
    health.end()
    ended = await asyncio.gather(*(task for _, task in (*same, *others)), return_exceptions=True)
    assert sum(isinstance(end, Aborted) for end in ended) == 1 + MOST_WATCHES_OF_ONE
    assert sum(end is None for end in ended) == MOST_WATCHES
    assert health._watches == 0


async def test_reflection_streams_end(tmp_path: Path) -> None:
    """Who asks one thing and then nothing does not hold a stream for longer than a call may take."""
    async with running_broker(tmp_path, server={"max_deadline_seconds": 0.3}) as broker:
        await broker.ready()
        stream = reflection_pb2_grpc.ServerReflectionStub(broker.channel).ServerReflectionInfo(
            metadata=bearer(CONSUMER_KEY)
        )
        await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        assert (await stream.read()).list_services_response.service
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert as_failure(caught.value).short == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")


async def services(broker: Broker, metadata: Any) -> list[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(broker.channel)
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    answers = [answer async for answer in stub.ServerReflectionInfo(iter([question]), metadata=metadata)]
    return [service.name for answer in answers for service in answer.list_services_response.service]


async def test_reflection_without_a_key(broker: Broker) -> None:
    """The shape of the API is nobody's business who has no key."""
    for metadata, reason in (((), "CREDENTIALS_MISSING"), (bearer("vk_" + "x" * 43), "CREDENTIALS_INVALID")):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await services(broker, metadata)
        assert as_failure(caught.value).short == (grpc.StatusCode.UNAUTHENTICATED, reason)


async def test_reflection_with_a_key(broker: Broker) -> None:
    """Any key, even a consumer's, may ask what there is."""
    names = await services(broker, bearer(CONSUMER_KEY))
    assert set(SERVICE_NAMES) | {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} == set(names)
