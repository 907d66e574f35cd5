"""Networks that forget, cut and come back: what a caller of the client never sees, and what it is told."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

import valetkey
from support.fake_access import NOW, grant
from support.fake_broker import API_KEY, Failure, FakeBroker, connector
from support.network import Network, network_before
from support.stopwatch import ends_within
from valetkey import Client, channel, channel_replacement
from valetkey.calls import retries
from valetkey.v1 import errors_pb2 as errors_pb

AZURE = valetkey.AzureConfig(tenant_id="t", client_id="c")
SPEC = valetkey.GrantSpec(
    principals=("key:a",), connectors=(valetkey.GrantedConnector("c"),), containers=("m",), permissions=("read",)
)
READS: dict[str, Callable[[Client], Any]] = {
    "IssueToken": lambda client: client.issue_token("az://models", ["read"]),
    "ListResources": lambda client: client.list_resources(),
    "GetConnector": lambda client: client.get_connector("c"),
    "ListConnectors": lambda client: client.list_connectors(),
    "VerifyConnector": lambda client: client.verify_connector("c"),
    "ListApiKeys": lambda client: client.list_api_keys(),
    "GetGrant": lambda client: client.get_grant("g"),
    "ListGrants": lambda client: client.list_grants(),
    "ExplainAccess": lambda client: client.explain_access("az://models", ["read"]),
    "ListLeases": lambda client: client.list_leases(),
    "ListEvents": lambda client: client.list_events(),
    "VerifyLedger": lambda client: client.verify_ledger(),
}
CHANGES: dict[str, Callable[[Client], Any]] = {
    "CreateConnector": lambda client: client.create_connector("n", azure=AZURE, client_secret="s"),
    "DeleteConnector": lambda client: client.delete_connector("c"),
    "CreateApiKey": lambda client: client.create_api_key("k", key_sha256=bytes(32), expire_time=NOW),
    "RevokeApiKey": lambda client: client.revoke_api_key("k"),
    "CreateGrant": lambda client: client.create_grant("n", SPEC),
    "UpdateGrant": lambda client: client.update_grant("g", SPEC, version=1),
    "DeleteGrant": lambda client: client.delete_grant("g"),
}


@pytest.fixture
def network(broker: FakeBroker) -> Iterator[Network]:
    broker.connectors["c"] = connector("c")
    broker.grants["g"] = grant("g")
    with network_before(broker.endpoint) as running:
        yield running


@pytest.fixture
def client(broker: FakeBroker, network: Network) -> Iterator[Client]:
    with Client(network.endpoint, api_key=API_KEY, ca_file=broker.ca_file) as connected:
        yield connected


def cut_soon(network: Network) -> None:
    """Cuts the connection; what would be answered then reaches nobody."""
    network.cut()
    time.sleep(0.3)


@pytest.mark.parametrize("method", READS)
def test_a_read_is_made_again_when_the_connection_is_cut(
    method: str, client: Client, broker: FakeBroker, network: Network
) -> None:
    """Protects callers from a cut that another try mends; a token more is a lease more and does no harm."""
    broker.interruption = lambda: cut_soon(network)
    READS[method](client)
    assert len(broker.requests) == 2


@pytest.mark.parametrize("method", CHANGES)
def test_a_change_is_never_made_twice(method: str, client: Client, broker: FakeBroker, network: Network) -> None:
    """Protects changes: whether the first took place is not known, and the caller is told."""
    broker.interruption = lambda: cut_soon(network)
    with pytest.raises(valetkey.ConnectionLostError, match=r"was lost: .*; try again") as caught:
        CHANGES[method](client)
    assert (len(broker.requests), caught.value.code) == (1, "UNAVAILABLE")


@pytest.mark.parametrize("call", [READS["IssueToken"], CHANGES["CreateConnector"]])
def test_a_broker_that_restarts_is_waited_for(
    call: Callable[[Client], Any], client: Client, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects callers from a restart of 2 to 7 s; what never left may be a change too."""
    monkeypatch.setattr(retries, "WINDOW", 60.0)
    client.list_connectors()
    # A change that went out over the old connection, before gRPC saw that this has ended, would not be made again.
    states: SimpleQueue[grpc.ChannelConnectivity] = SimpleQueue()
    channel_in_use = client._caller.connection._channels.channel
    assert channel_in_use is not None
    channel_in_use.subscribe(states.put)
    while states.get(timeout=60) is not grpc.ChannelConnectivity.READY:
        pass
    network.down()
    while states.get(timeout=60) is grpc.ChannelConnectivity.READY:
        pass
    channel_in_use.unsubscribe(states.put)
    timer = threading.Timer(3, network.up)
    timer.start()
    call(client)
    timer.join()


def test_a_broker_that_is_not_ready_is_waited_for(
    client: Client, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects changes too: a broker that says so has begun nothing, and it says when to ask again."""
    monkeypatch.setattr(retries, "WINDOW", 60.0)
    broker.failures["CreateConnector"] = Failure(
        grpc.StatusCode.UNAVAILABLE,
        "starting",
        errors_pb.ERROR_REASON_NOT_SERVING,
        retry_delay=timedelta(seconds=0.2),
    )
    timer = threading.Timer(1, broker.failures.clear)
    timer.start()
    client.create_connector("n", azure=AZURE, client_secret="s")
    timer.join()


def test_what_the_broker_says_is_away_is_told_at_once(client: Client, broker: FakeBroker) -> None:
    """Protects Vault and Azure in an outage from each caller's threefold asking, and the caller's own back-off."""
    broker.failures["IssueToken"] = Failure(
        grpc.StatusCode.UNAVAILABLE, "Azure is away", errors_pb.ERROR_REASON_CLOUD_UNAVAILABLE
    )
    with pytest.raises(valetkey.UnavailableError, match="Azure is away"):
        READS["IssueToken"](client)
    assert len(broker.requests) == 1


def test_nothing_is_tried_for_longer_than_the_call_may_take(
    broker: FakeBroker, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the caller's deadline, and the cause from being hidden behind it."""
    monkeypatch.setattr(retries, "WINDOW", 60.0)
    network.down()
    with (
        ends_within(40),
        Client(network.endpoint, api_key=API_KEY, ca_file=broker.ca_file, timeout=1.5) as client,
        pytest.raises(valetkey.BrokerUnreachableError, match="Connection refused"),
    ):
        client.list_connectors()


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("UNKNOWN", "Stream removed"),
        ("INTERNAL", "Received RST_STREAM with error code 2"),
        ("CANCELLED", "Received RST_STREAM with error code 8"),
        ("CANCELLED", ""),
        ("UNAVAILABLE", "recvmsg:Connection reset by peer"),
        ("UNAVAILABLE", "Received http2 header with status: 503"),
    ],
)
def test_a_cut_is_told_as_one(code: str, text: str, client: Client, broker: FakeBroker) -> None:
    """Protects retries from the many codes under which proxies and a stopping broker cut calls."""
    broker.failures["DeleteConnector"] = Failure(grpc.StatusCode[code], text, bare=True)
    with pytest.raises(valetkey.ConnectionLostError) as caught:
        client.delete_connector("c")
    assert (
        caught.value.code,
        str(caught.value).startswith(f"the connection to the broker at {client._caller.terms.endpoint}"),
    ) == (
        "UNAVAILABLE",
        True,
    )


def test_a_defect_is_no_cut(client: Client, broker: FakeBroker) -> None:
    """Protects against repeating what fails each time."""
    broker.failures["IssueToken"] = Failure(grpc.StatusCode.UNKNOWN, "Unexpected error", bare=True)
    with pytest.raises(valetkey.ValetKeyError, match="answered UNKNOWN: Unexpected error") as caught:
        READS["IssueToken"](client)
    assert not isinstance(caught.value, valetkey.UnavailableError)
    assert len(broker.requests) == 1


def test_a_connection_that_rested_is_not_trusted(
    broker: FakeBroker, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the first call after minutes of rest, each time; Azure's load balancers forget after 240 s."""
    assert channel_replacement.REST_SECONDS < 240
    monkeypatch.setattr(channel_replacement, "REST_SECONDS", 1.0)
    network.forget_after = 2.0
    with Client(network.endpoint, api_key=API_KEY, ca_file=broker.ca_file, timeout=20) as client:
        client.list_grants()
        for _ in range(3):
            time.sleep(3)
            client.update_grant("g", SPEC, version=broker.grants["g"].version)
    assert network.attempts == 4


def test_a_silent_endpoint_is_told_within_the_deadline(
    broker: FakeBroker, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects whoever has a wrong address, behind which nothing answers, from a bare deadline."""
    monkeypatch.setattr(channel, "CONNECT_MS", 1_000)
    network.mute = True
    with (
        Client(network.endpoint, api_key=API_KEY, ca_file=broker.ca_file, timeout=60) as client,
        pytest.raises(valetkey.BrokerUnreachableError, match=f"cannot reach the broker at {network.endpoint}: "),
    ):
        client.list_connectors()


def test_a_client_does_not_back_off_for_long(
    client: Client, broker: FakeBroker, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects clients from failing on for minutes after an outage; gRPC alone would wait up to two."""
    network.refuses_late = True
    with pytest.raises(valetkey.UnavailableError):
        client.list_connectors()
    time.sleep(12)
    # gRPC alone: after 1, 2.6, 5.2, 9.3 s, give or take a fifth.
    assert network.attempts >= 7
    network.refuses_late = False
    monkeypatch.setattr(retries, "WINDOW", 60.0)
    client.list_connectors()
    assert len(broker.requests) == 1


def test_a_wrong_key_is_shown_once(broker: FakeBroker, client: Client) -> None:
    """Protects whoever mistook a key from a slow answer: the broker itself looks whether it was made a moment ago."""
    broker.api_key = "another"
    for calls in (1, 2):
        with pytest.raises(valetkey.UnauthenticatedError):
            client.list_connectors()
        assert broker.entered == calls
