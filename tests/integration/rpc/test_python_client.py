"""The Python client against a real broker that restarts and a network that swallows: what its user never sees."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from support.fake_store import FakeStateStore
from support.inproc import CONSUMER_KEY, OPERATOR_KEY, bearer, new_connector, running_broker, seed_keys
from support.network import network_before
from support.waiting import eventually
from valetkey import Client, TokenSource, ValetKeyError
from valetkey.calls import streams
from valetkey_devstack.free_ports import free_port

CALLERS = 4
T = TypeVar("T")


class Seen:
    """What callers in threads of their own got; `over` tells them to end."""

    def __init__(self) -> None:
        self.leases: list[str] = []
        self.watched: list[str] = []
        self.sourced: list[str] = []
        self.interruptions: list[str] = []
        self.errors: list[BaseException] = []
        self.over = threading.Event()

    def issue(self, client: Client) -> None:
        """Asks for a token again and again."""
        while not self.over.wait(0.02):
            self.leases.append(client.issue_token("az://demo", ["read"]).lease_id)

    def ask(self, source: TokenSource) -> None:
        """Uses a source's token all the time."""
        while not self.over.wait(0.02):
            self.sourced.append(source.current().lease_id)

    def watch(self, client: Client) -> None:
        """Follows a stream."""
        for token in client.watch_token("az://demo", ["read"], on_interruption=self._interrupted):
            self.watched.append(token.lease_id)

    def run(self, job: Callable[[T], None], client: T) -> threading.Thread:
        """Starts a thread; its error is kept."""

        def safely() -> None:
            try:
                job(client)
            except Exception as error:  # noqa: BLE001 (the test looks at all of them)
                if not self.over.is_set():
                    self.errors.append(error)

        thread = threading.Thread(target=safely, daemon=True)
        thread.start()
        return thread

    def _interrupted(self, error: ValetKeyError) -> None:
        self.interruptions.append(str(error))


async def test_a_restart_of_the_broker_costs_callers_nothing(tmp_path: Path) -> None:
    """A stop, seconds of absence and a start, with another certificate: no call fails, and the stream goes on."""
    store, server, seen = FakeStateStore(), {"port": free_port()}, Seen()
    await seed_keys(store)
    async with running_broker(tmp_path, store=store, server=server) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow()
        client = Client(broker.endpoint, api_key=CONSUMER_KEY, ca_file=tmp_path / "ca.pem")
        key_file = tmp_path / "consumer.key"
        key_file.write_text(CONSUMER_KEY)
        caller = await asyncio.to_thread(client.who_am_i)
        assert (caller.principal, caller.roles, caller.authentication) == ("key:trainer", (), "api-key")
        assert caller.expire_time == datetime(2999, 1, 1, tzinfo=UTC)
        token = await asyncio.to_thread(client.issue_token, "az://demo", ["read"], ttl=timedelta(minutes=5))
        assert token.answer_time is not None  # the broker's clock, by which a token's life is reckoned
        assert timedelta(minutes=4, seconds=50) < token.expires_at - token.answer_time <= timedelta(minutes=5)
        source = TokenSource(
            *("az://demo", ["read"]),
            endpoint=broker.endpoint,
            api_key_file=key_file,
            ca_file=tmp_path / "ca.pem",
            ttl=timedelta(seconds=20),
        )
        threads = (
            [seen.run(seen.ask, source)]
            + [seen.run(seen.issue, client) for _ in range(CALLERS)]
            + [seen.run(seen.watch, client)]
        )
        await eventually(lambda: len(seen.leases) > 4 * CALLERS and bool(seen.watched), seconds=60)
        await eventually(lambda: bool(seen.sourced), seconds=60)
    await asyncio.sleep(2)
    before = len(seen.leases)
    async with running_broker(tmp_path, store=store, server=server) as broker:
        await eventually(lambda: len(seen.leases) > before + 4 * CALLERS and len(seen.watched) > 1, seconds=60)
        await eventually(lambda: len(set(seen.sourced)) > 1, seconds=60)
        seen.over.set()
        source.close()
        client.close()
        await asyncio.gather(*(asyncio.to_thread(thread.join, 30) for thread in threads))
    assert seen.errors == []
    assert len(set(seen.leases)) == len(seen.leases)
    assert seen.interruptions


async def test_a_swallowed_stream_is_noticed_by_the_brokers_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker's heartbeats come, and what keeps them away is a cut: the stream is renewed elsewhere."""
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 1)
    seen = Seen()
    async with running_broker(tmp_path) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow()
        with network_before(broker.endpoint) as network:
            client = Client(network.endpoint, api_key=CONSUMER_KEY, ca_file=tmp_path / "ca.pem")
            thread = seen.run(seen.watch, client)
            await eventually(lambda: client._caller.heartbeats, seconds=60)  # before the first, silence means nothing
            network.mute = True
            await eventually(lambda: bool(seen.interruptions), seconds=60)
            network.mute = False
            network.cut()
            await eventually(lambda: len(seen.watched) > 1, seconds=60)
            seen.over.set()
            client.close()
            await asyncio.to_thread(thread.join, 30)
    assert "it was silent for 2.5 s" in seen.interruptions[0]
    assert seen.errors == []
