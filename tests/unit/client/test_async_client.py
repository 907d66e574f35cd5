"""`AsyncClient` against a fake broker: the same calls, awaited."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

import valetkey
from support.fake_broker import API_KEY, SAS, Failure, FakeBroker
from support.watch_messages import HEARTBEAT, end, step
from valetkey import AsyncClient, Client
from valetkey.calls import lazy_groups, streams
from valetkey.calls.base import path_of
from valetkey.v1 import errors_pb2 as errors_pb
from valetkey.v1 import token_service_pb2 as token_pb
from valetkey_broker.api.methods import METHODS


@pytest.fixture
async def aclient(broker: FakeBroker) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(broker.endpoint, api_key=API_KEY, ca_file=broker.ca_file) as connected:
        yield connected


def test_both_clients_have_the_same_calls() -> None:
    """Protects each client from a call that only the other one has, or takes other arguments."""
    names = [name for name in dir(Client) if not name.startswith("_")]
    assert names == [name for name in dir(AsyncClient) if not name.startswith("_")]
    for name in names:
        blocking, asynchronous = (inspect.signature(getattr(each, name)) for each in (Client, AsyncClient))
        assert blocking.parameters == asynchronous.parameters, name
    assert inspect.iscoroutinefunction(AsyncClient.issue_token)
    assert inspect.signature(Client.list_grants).return_annotation == list[valetkey.Grant]
    assert Client.list_grants.__doc__ == "Returns grants by name, at most `limit`; left out, all there are."


def test_every_method_of_the_api_can_be_called() -> None:
    """Protects programs from an RPC that neither client offers, and every group from being left out of the table."""
    ours = {path.rpartition("/")[2] for path in METHODS if path.startswith("/valetkey.v1.")}
    words = {"".join(word.capitalize() for word in name.split("_")) for name in dir(Client) if name[0] != "_"}
    assert ours - words == {"GetLoginSettings"}  # `valetkey login` asks it, who has no identity for a client yet
    calls = Path(inspect.getfile(streams)).parent
    groups_there = {path.stem for path in calls.glob("[!_]*.py") if "yield from ask(" in path.read_text()}
    assert set(lazy_groups.__all__) == groups_there
    assert path_of(token_pb.WatchTokenResponse) == "/valetkey.v1.TokenService/WatchToken"
    with pytest.raises(LookupError, match="no method answers with"):
        path_of(errors_pb.ErrorDetail)


async def test_calls_go_there_and_back(aclient: AsyncClient, broker: FakeBroker) -> None:
    """Protects the main job, in a hundred tasks at once."""
    tokens = await asyncio.gather(*(aclient.issue_token("az://models", ["read"]) for _ in range(100)))
    assert {token.sas_token for token in tokens} == {SAS}
    assert broker.metadata["authorization"] == f"Bearer {API_KEY}"
    assert await aclient.list_api_keys() == []
    assert (repr(aclient), API_KEY in repr(aclient)) == (f"AsyncClient('{broker.endpoint}')", False)


async def test_errors_are_of_the_same_kinds_and_carry_the_request_id(aclient: AsyncClient, broker: FakeBroker) -> None:
    """Protects programs that tell errors apart, and whoever looks for the call in the broker's log."""
    broker.failures["IssueToken"] = Failure(
        grpc.StatusCode.PERMISSION_DENIED, "no grant", errors_pb.ERROR_REASON_RESOURCE_DENIED, request_id="req-7"
    )
    with pytest.raises(valetkey.PermissionDeniedError) as caught:
        await aclient.issue_token("az://models", ["read"])
    assert (caught.value.reason, caught.value.request_id) == ("RESOURCE_DENIED", "req-7")
    with pytest.raises(valetkey.InvalidArgumentError, match="expected several"):
        await aclient.issue_token("az://models", "read")


async def test_a_call_in_vain_is_made_again_where_that_is_safe(aclient: AsyncClient, broker: FakeBroker) -> None:
    """Protects reads from a broker that is just about to stop, and changes from being made twice."""
    broker.failures["ListConnectors"] = Failure(
        grpc.StatusCode.UNAVAILABLE, "it stops", errors_pb.ERROR_REASON_NOT_SERVING
    )
    asyncio.get_running_loop().call_later(0.1, broker.failures.clear)
    assert await aclient.list_connectors() == []
    assert len(broker.requests) >= 2


async def test_close_ends_what_is_under_way(broker: FakeBroker) -> None:
    """Protects tasks from a CancelledError that nobody asked for, and from calls after close()."""
    aclient = AsyncClient(broker.endpoint, api_key=API_KEY, ca_file=broker.ca_file)
    broker.interruption = lambda: time.sleep(1)
    waiting = asyncio.create_task(aclient.list_connectors())
    while not broker.requests:  # noqa: ASYNC110 (the broker is another thread)
        await asyncio.sleep(0.01)
    await aclient.close()
    with pytest.raises(valetkey.ValetKeyError, match="closed under the call"):
        await waiting
    with pytest.raises(valetkey.ValetKeyError, match="this client is closed"):
        await aclient.list_connectors()


async def test_who_cancels_a_call_is_not_told_that_it_was_closed(aclient: AsyncClient, broker: FakeBroker) -> None:
    """Protects structured concurrency: a cancelled task ends cancelled."""
    broker.interruption = lambda: time.sleep(0.5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await aclient.list_connectors()


def test_a_client_outlives_an_event_loop(broker: FakeBroker) -> None:
    """Protects programs that call asyncio.run() more than once: a channel belongs to one loop."""
    aclient = AsyncClient(broker.endpoint, api_key=API_KEY, ca_file=broker.ca_file)
    assert [asyncio.run(aclient.list_grants()) for _ in range(2)] == [[], []]
    asyncio.run(aclient.close())


async def test_a_stream_goes_on_over_an_end_that_is_none(
    aclient: AsyncClient, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects long jobs from restarts and cuts, and from a network that swallows everything."""
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 1)
    broker.streams = [
        [step(1, life=60), end("SHUTDOWN")],
        [step(2, life=60), HEARTBEAT, 3.0],
        [step(3), end("GRANT_GONE")],
    ]
    interruptions: list[valetkey.ValetKeyError] = []
    found: list[str] = []

    async def collect() -> None:
        async for token in aclient.watch_token("az://models", ["read"], on_interruption=interruptions.append):
            found.append(token.lease_id)  # noqa: PERF401 (what came before the end counts)

    with pytest.raises(valetkey.WatchEndedError, match="over"):
        await collect()
    assert found == ["lease-1", "lease-2", "lease-3"]
    assert [type(error) for error in interruptions] == [valetkey.WatchEndedError, valetkey.ConnectionLostError]
