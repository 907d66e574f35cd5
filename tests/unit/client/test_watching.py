"""Streams of tokens: what they get over, and what ends them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

import valetkey
from support.cli_runner import Runner
from support.client_certificates import make_client_ca
from support.fake_broker import API_KEY, Failure, FakeBroker, running_fake_broker
from support.network import Network, network_before
from support.watch_messages import HEARTBEAT, end, step
from valetkey import Client, clock_through_suspend, token_messages
from valetkey.callers.base import Interruption
from valetkey.calls import retries, streams
from valetkey.v1 import errors_pb2 as errors_pb

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ0cmFpbmVyIn0.c2ln"
GONE = end("GRANT_GONE")


@pytest.fixture
def network(broker: FakeBroker) -> Iterator[Network]:
    with network_before(broker.endpoint) as running:
        yield running


@pytest.fixture
def client(broker: FakeBroker, network: Network) -> Iterator[Client]:
    with Client(network.endpoint, api_key=API_KEY, ca_file=broker.ca_file) as connected:
        yield connected


def collect(client: Client, found: list[str], on_interruption: Interruption | None = None) -> None:
    """Appends the leases of a stream as they come."""
    for token in client.watch_token("az://models", ["read"], on_interruption=on_interruption):
        found.append(token.lease_id)  # noqa: PERF401 (what came before the end counts)


def arrival(found: list[str]) -> Callable[[], None]:
    """Returns what has the broker wait until the first lease was found; a slow machine takes its time for that."""

    def wait() -> None:
        ends = time.monotonic() + 60
        while not found and time.monotonic() < ends:
            time.sleep(0.01)

    return wait


def test_a_cut_is_got_over(client: Client, broker: FakeBroker, network: Network) -> None:
    """Protects long streams from one cut on the way."""
    interruptions: list[valetkey.ValetKeyError] = []
    found: list[str] = []
    broker.streams = [[step(1, life=60), arrival(found), network.cut, 60.0], [step(2), GONE]]
    with pytest.raises(valetkey.WatchEndedError):
        collect(client, found, interruptions.append)
    assert found == ["lease-1", "lease-2"]
    assert [type(error) for error in interruptions] == [valetkey.ConnectionLostError]


def test_a_stream_that_ends_without_a_word_goes_on(client: Client, broker: FakeBroker) -> None:
    """Protects against taking a stream that broke off for one that is still good, or for one that was refused."""
    broker.streams = [[step(1, life=60)], [end("SHUTDOWN")], [step(2), GONE]]
    found: list[str] = []
    with pytest.raises(valetkey.WatchEndedError, match="over") as caught:
        collect(client, found)
    assert (found, caught.value.reason, len(broker.requests)) == (["lease-1", "lease-2"], "GRANT_GONE", 3)


def test_an_outage_is_got_over_while_the_last_token_lives(
    client: Client, broker: FakeBroker, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects streams from an outage that is longer than a restart and shorter than a token."""
    monkeypatch.setattr(retries, "WINDOW", 0.0)
    timer = threading.Timer(4, network.up)

    def go_down() -> None:
        network.down()
        timer.start()

    found: list[str] = []
    broker.streams = [[step(1, life=60), arrival(found), go_down, 60.0], [step(2), GONE]]
    with pytest.raises(valetkey.WatchEndedError):
        collect(client, found)
    timer.join()
    assert found == ["lease-1", "lease-2"]


def test_an_outage_that_outlives_the_last_token_ends_the_stream(
    client: Client, broker: FakeBroker, network: Network
) -> None:
    """Protects programs from waiting for ever: nothing they hold is good any more."""
    found: list[str] = []
    broker.streams = [[step(1, life=4), arrival(found), network.down, 60.0]]
    with pytest.raises(valetkey.BrokerUnreachableError, match="Connection refused"):
        collect(client, found)
    assert found == ["lease-1"]


@pytest.mark.parametrize("hours", [-2, 2])
def test_an_outage_where_this_machines_clock_is_off(hours: int) -> None:
    """Protects streams on such machines: how long the last token lives, the broker's clock says."""
    answer = step(1, life=600).token
    theirs = timedelta(hours=hours)
    answer.answer_time.FromDatetime(datetime.now(UTC) + theirs)
    for life, another in ((600, True), (-1, False)):
        answer.expire_time.FromDatetime(datetime.now(UTC) + theirs + timedelta(seconds=life))
        reconnections = retries.Reconnections(30)
        reconnections.heard(token_messages.token(answer))
        reconnections._lost = clock_through_suspend.now() - 2 * retries.WINDOW
        assert (reconnections.pause(valetkey.UnavailableError("away")) is not None) is another


def test_what_is_away_when_the_stream_is_renewed_is_waited_for(client: Client, broker: FakeBroker) -> None:
    """Protects streams from a broker that is back before its Vault is."""

    def away() -> None:
        broker.failures["WatchToken"] = Failure(
            grpc.StatusCode.UNAVAILABLE, "Vault is away", errors_pb.ERROR_REASON_VAULT_UNAVAILABLE
        )
        timer.start()

    timer = threading.Timer(1, broker.failures.clear)
    broker.streams = [[step(1, life=60), away, end("SHUTDOWN")], [step(2), GONE]]
    found: list[str] = []
    with pytest.raises(valetkey.WatchEndedError):
        collect(client, found)
    timer.join()
    assert found == ["lease-1", "lease-2"]


def test_a_refusal_ends_it_at_once(client: Client, broker: FakeBroker) -> None:
    """Protects revocation from being asked about again and again."""

    def refuse() -> None:
        broker.failures["WatchToken"] = Failure(grpc.StatusCode.PERMISSION_DENIED, "no grant lets you")

    broker.streams = [[step(1, life=60), refuse, end("SHUTDOWN")]]
    with pytest.raises(valetkey.PermissionDeniedError):
        collect(client, [])
    assert len(broker.requests) == 2


def test_silence_is_a_cut(
    client: Client, broker: FakeBroker, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects streams from a network that swallows everything and tells nobody."""
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 1)

    def swallow() -> None:
        time.sleep(0.3)
        network.forget_after = 0.0

    def heal(error: valetkey.ValetKeyError) -> None:
        interruptions.append(str(error))
        network.forget_after = float("inf")
        network.cut()

    interruptions: list[str] = []
    found: list[str] = []
    broker.streams = [[step(1, life=60), HEARTBEAT, arrival(found), swallow, 60.0], [step(2), GONE]]
    with pytest.raises(valetkey.WatchEndedError):
        collect(client, found, heal)
    assert found == ["lease-1", "lease-2"]
    assert "was lost: it was silent for 2.5 s" in interruptions[0]
    assert broker.requests[0].heartbeat_interval.seconds == 1


def test_the_silence_of_a_broker_without_heartbeats_means_nothing(
    client: Client, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects streams of older brokers, which are silent for minutes."""
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0)
    broker.stream = [step(1), 0.5, step(2), GONE]
    found: list[str] = []
    with pytest.raises(valetkey.WatchEndedError):
        collect(client, found)
    assert found == ["lease-1", "lease-2"]


def test_who_takes_long_over_a_token_is_not_cut_off(
    client: Client, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects programs that ask for the next token only when they are done with this one."""
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 1)
    broker.stream = [HEARTBEAT, step(1), 0.2, HEARTBEAT, step(2), GONE]
    with closing(client.watch_token("az://models", ["read"])) as tokens:
        next(tokens)
        time.sleep(4)
        assert next(tokens).lease_id == "lease-2"
    assert len(broker.requests) == 1


def test_a_fresh_token_in_the_file_goes_on(broker: FakeBroker, tmp_path: Path, bare: Runner) -> None:
    """Protects what watches with a projected token, which Kubernetes renews each hour: no revocation, and no gap."""
    path = tmp_path / "token"
    path.write_text(JWT)
    broker.api_key = JWT

    def renew() -> None:
        path.write_text(f"{JWT}2")
        broker.api_key = f"{JWT}2"

    expired = end("IDENTITY_EXPIRED", "the token expired")
    broker.streams = [[step(1), renew, expired], [step(2), expired]]
    ran = bare(
        *("--endpoint", broker.endpoint, "--ca-file", str(broker.ca_file), "--token-file", str(path)),
        *("token", "watch", "--resource", "az://models", "--permissions", "read", "-o", "sas"),
    )
    assert (len(ran.out.splitlines()), len(broker.requests)) == (2, 2)
    # The second time the file still holds the token that expired.
    assert (ran.code, ran.err) == (3, "Error: the token expired\nreason IDENTITY_EXPIRED\n")


def test_a_fresh_certificate_goes_on(tmp_path: Path) -> None:
    """Protects the same for SPIFFE's certificates."""
    ca = make_client_ca()
    certificate, key = ca.issue(tmp_path / "svid")
    with (
        running_fake_broker(tmp_path, client_ca=ca.pem) as broker,
        Client(broker.endpoint, client_cert_file=certificate, client_key_file=key, ca_file=broker.ca_file) as client,
    ):
        broker.streams = [
            [step(1), lambda: ca.issue(tmp_path / "svid"), end("IDENTITY_EXPIRED")],
            [step(2), end("IDENTITY_EXPIRED")],
        ]
        found: list[str] = []
        with pytest.raises(valetkey.WatchEndedError) as caught:
            collect(client, found)
    assert (found, caught.value.reason) == (["lease-1", "lease-2"], "IDENTITY_EXPIRED")
