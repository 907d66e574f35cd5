"""How a broker stops under load: every call ends with a token, or with an error that is worth another try."""

import asyncio
from collections import Counter
from pathlib import Path

import grpc
import grpc.aio

from support.failed_calls import as_failure, failure
from support.inproc import CONSUMER_KEY, OPERATOR_KEY, Broker, bearer, new_connector, running_broker
from support.waiting import eventually
from valetkey.v1 import token_service_pb2_grpc
from valetkey.v1.token_service_pb2 import IssueTokenRequest

CALLERS, CONNECTIONS, STOPS = 32, 4, 3
REQUEST = IssueTokenRequest(resource_id="demo", permissions=[1])


async def call_until(stopped: asyncio.Event, channel: grpc.aio.Channel, outcomes: Counter[str]) -> None:
    """Calls again and again, at once after each answer, as a busy client does; counts what came back."""
    stub = token_service_pb2_grpc.TokenServiceStub(channel)
    while not stopped.is_set():
        try:
            await stub.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY), timeout=60)
            outcomes["OK"] += 1
        except grpc.aio.AioRpcError as error:
            refused = any(name == "grpc-status-details-bin" for name, _ in error.trailing_metadata() or ())
            outcomes[as_failure(error).reason if refused else error.code().name] += 1
            await asyncio.sleep(0.02)


async def test_no_call_is_lost_in_a_stop(tmp_path: Path) -> None:
    """A stop under load ends no call with CANCELLED: what gRPC has taken is served, or refused as NOT_SERVING."""
    outcomes: Counter[str] = Counter()
    for number in range(STOPS):
        (tmp_path / str(number)).mkdir()
        # What is under way when it stops is finished, however long a busy machine takes.
        server, limits = {"grace_seconds": 60}, {"issue_burst": 1_000_000}
        async with running_broker(tmp_path / str(number), server=server, limits=limits) as broker:
            await broker.ready()
            await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
            await broker.allow()
            options = (("grpc.use_local_subchannel_pool", 1),)  # A connection for each channel.
            credentials = grpc.ssl_channel_credentials(broker.ca)
            channels = [grpc.aio.secure_channel(broker.endpoint, credentials, options) for _ in range(CONNECTIONS)]
            stopped = asyncio.Event()
            callers = [
                asyncio.create_task(call_until(stopped, channels[index % CONNECTIONS], outcomes))
                for index in range(CALLERS)
            ]
            served = outcomes["OK"]
            await eventually(lambda: outcomes["OK"] > served + 2 * CALLERS, seconds=60)  # noqa: B023 (awaited here)
            await broker.server.stop()
            stopped.set()
            await asyncio.gather(*callers)
            await asyncio.gather(*(channel.close() for channel in channels))
    # The port is closed in the end; then there is nobody who could tell a reason.
    assert set(outcomes) <= {"OK", "NOT_SERVING", "UNAVAILABLE"}
    assert outcomes["NOT_SERVING"] > 0


async def test_calls_under_way_are_finished(stocked: Broker) -> None:
    """A call that waits for Azure when the stop begins gets its token; one that comes later is told to try again."""
    gate = stocked.cloud.hold("signing_key")
    early = asyncio.ensure_future(stocked.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY)))
    await eventually(lambda: stocked.cloud.calls["signing_key"] == 2)  # One was for verifying.
    stopping = asyncio.create_task(stocked.server.stop())
    await asyncio.sleep(0)
    told = await failure(stocked.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY)))
    assert told.short == (grpc.StatusCode.UNAVAILABLE, "NOT_SERVING")
    assert not early.done()
    gate.set()
    assert (await early).sas_token
    await stopping
