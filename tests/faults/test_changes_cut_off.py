"""Changes that are cut off: a broker killed, or its ledger gone, between the record before and the one after."""

import asyncio
import contextlib
import datetime as dt
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from support.broker_process import Serving, run, serving, write_config
from support.failed_calls import as_failure
from support.inproc import bearer, make_key
from support.ledgers import new_name, open_ledger
from support.postgres import Postgres, running_postgres
from support.relay import Relay
from valetkey.v1 import api_key_service_pb2 as pb
from valetkey.v1 import ledger_service_pb2 as ledger_pb
from valetkey.v1.api_key_service_pb2_grpc import ApiKeyServiceStub
from valetkey.v1.ledger_service_pb2_grpc import LedgerServiceStub
from valetkey_broker.model import EventFilter, EventKind
from valetkey_devstack.ca import make_ca
from valetkey_devstack.openbao import MOUNT, OpenBao, start_openbao

pytestmark = pytest.mark.xdist_group("changes-cut-off")

FRESH = make_key("F")


@dataclass
class Parts:
    """A Vault, a relay before it that can keep its answers back, and a PostgreSQL."""

    bao: OpenBao
    relay: Relay
    postgres: Postgres


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[OpenBao, Path, Path, Postgres]]:
    directory = tmp_path_factory.mktemp("cut-off")
    authority = make_ca(directory)
    certificate, key = authority.issue("relay", directory)
    bao = await start_openbao(directory / "openbao", authority)
    try:
        async with running_postgres() as postgres:
            yield bao, certificate, key, postgres
    finally:
        await bao.stop()


@pytest.fixture
async def parts(servers: tuple[OpenBao, Path, Path, Postgres]) -> AsyncIterator[Parts]:
    bao, certificate, key, postgres = servers
    async with Relay(bao.address, bao.ca_file, certificate, key) as relay:
        yield Parts(bao, relay, postgres)
    admin = bao.admin()
    for path in ("generation", "api-keys/admin", "api-keys/fresh"):
        admin.secrets.kv.v2.delete_metadata_and_all_versions(path, mount_point=MOUNT)
    admin.adapter.close()


async def error_of(call: Any) -> grpc.aio.AioRpcError:
    """Awaits a call that has to fail; that of a broker which was killed carries no detail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


class World:
    """A broker's settings, and its first admin key."""

    def __init__(self, parts: Parts, directory: Path, ledger_url: str) -> None:
        self.parts, self.ledger_url = parts, ledger_url
        vault = parts.bao.settings(address=parts.relay.url, timeout_seconds=20.0)
        self.config = write_config(directory, vault, ledger={"url": ledger_url, "timeout_seconds": 10.0})
        self.admin = ""

    async def bootstrap(self) -> None:
        """Makes the admin key."""
        ran = await asyncio.to_thread(run, "bootstrap", "--config", self.config)
        assert ran.returncode == 0, ran.stderr
        self.admin = ran.stdout.strip()

    @contextlib.asynccontextmanager
    async def creating(self, broker: Serving) -> AsyncIterator["asyncio.Task[grpc.aio.AioRpcError]"]:
        """Has the key `fresh` created, up to where Vault has it and the broker does not know; the call has to fail."""
        held = self.parts.relay.hold(f"POST /v1/{MOUNT}/data/api-keys/fresh".encode())
        ends = Timestamp()
        ends.FromDatetime(dt.datetime.now(dt.UTC) + dt.timedelta(days=1))
        request = pb.CreateApiKeyRequest(
            name="fresh", expire_time=ends, key_sha256=hashlib.sha256(FRESH.encode()).digest()
        )
        async with broker.channel() as channel:
            call = ApiKeyServiceStub(channel).CreateApiKey(request, metadata=bearer(self.admin), timeout=60)
            creating = asyncio.create_task(error_of(call))
            async with asyncio.timeout(60):
                await held.answered.wait()
            yield creating

    async def names(self, broker: Serving) -> list[str]:
        """Returns the names of the API keys, as the broker knows them."""
        async with broker.channel() as channel:
            answer = await ApiKeyServiceStub(channel).ListApiKeys(pb.ListApiKeysRequest(), metadata=bearer(self.admin))
        return [key.name for key in answer.api_keys]

    async def unfinished(self, broker: Serving) -> list[str]:
        """Returns the objects of the changes without outcome, as an auditor gets to see them."""
        async with broker.channel() as channel:
            request = ledger_pb.ListEventsRequest(unfinished=True)
            answer = await LedgerServiceStub(channel).ListEvents(request, metadata=bearer(self.admin))
        return [event.object for event in answer.events]

    async def of_fresh(self) -> list[EventKind]:
        """Returns what is on record of the key `fresh`; the chains have to hold."""
        async with open_ledger(self.ledger_url) as ledger:
            found = await ledger.verify()
            assert found.intact, found.problem
            events = [stored.event for stored in await ledger.events(EventFilter())]
        return [event.kind for event in events if event.object == "api-keys/fresh"]


@pytest.fixture(params=["sqlite", "postgres"])
async def world(request: pytest.FixtureRequest, parts: Parts, tmp_path: Path) -> World:
    url = f"sqlite:///{tmp_path}/ledger.db"
    if request.param == "postgres":
        name = new_name()
        await parts.postgres.run(f"CREATE DATABASE {name}")
        url = parts.postgres.url(name)
    made = World(parts, tmp_path, url)
    await made.bootstrap()
    return made


async def test_a_broker_killed_after_vault_was_written(world: World) -> None:
    """A key that Vault has, of a broker that died before it knew: the next one finds it, and completes the record."""
    with serving(world.config) as broker:
        await broker.logged("serving")
        async with world.creating(broker) as creating:
            os.kill(broker.process.pid, signal.SIGKILL)
            assert (await creating).code() is grpc.StatusCode.UNAVAILABLE
    assert await world.of_fresh() == [EventKind.CHANGE_BEGUN]
    world.parts.relay.heal()
    with serving(world.config) as broker:
        (line,) = await broker.logged("settled a change that its writer left")
        assert (line["path"], line["outcome"], line["principal"]) == ("api-keys/fresh", "made", "key:admin")
        assert await world.unfinished(broker) == []
        assert await world.names(broker) == ["admin", "fresh"]
    assert await world.of_fresh() == [EventKind.CHANGE_BEGUN, EventKind.CHANGE_RECONCILED]


async def test_a_broker_killed_before_vault_was_written(world: World) -> None:
    """The same where Vault never got to hear of it: what is on record is the same, for the broker knew no more."""
    with serving(world.config) as broker:
        await broker.logged("serving")
        world.parts.bao.freeze()
        try:
            request = pb.RevokeApiKeyRequest(name="admin")
            async with broker.channel() as channel:
                call = ApiKeyServiceStub(channel).RevokeApiKey(request, metadata=bearer(world.admin))
                revoking = asyncio.create_task(error_of(call))
                async with asyncio.timeout(60), open_ledger(world.ledger_url) as ledger:
                    while not (begun := await ledger.events(EventFilter(unfinished=True))):  # noqa: ASYNC110 (a process)
                        await asyncio.sleep(0.05)
                os.kill(broker.process.pid, signal.SIGKILL)
                assert (await revoking).code() is grpc.StatusCode.UNAVAILABLE
        finally:
            world.parts.bao.thaw()
    assert [stored.event.object for stored in begun] == ["api-keys/admin"]
    with serving(world.config) as broker:
        await broker.logged("serving")
        assert await world.unfinished(broker) == ["api-keys/admin"]


async def test_a_ledger_lost_in_between(parts: Parts, tmp_path: Path) -> None:
    """PostgreSQL dies while Vault is written: the admin hears what is known, and the rest is recorded afterwards."""
    name = new_name()
    await parts.postgres.run(f"CREATE DATABASE {name}")
    world = World(parts, tmp_path, parts.postgres.url(name))
    await world.bootstrap()
    with serving(world.config) as broker:
        await broker.logged("serving")
        async with world.creating(broker) as creating:
            parts.postgres.kill()
            parts.relay.heal()
            told = as_failure(await creating)
        await parts.postgres.start()
        assert (told.reason, told.metadata["change"]) == ("LEDGER_UNAVAILABLE", "made")
        assert "its outcome is not" in told.message
        await broker.logged("the ledger can be written again")
        assert broker.events("a change was made, and its outcome is not on record")
        (line,) = await broker.logged("settled a change that its writer left")
        assert (line["path"], line["outcome"]) == ("api-keys/fresh", "made")
        assert await world.names(broker) == ["admin", "fresh"]
        assert await world.unfinished(broker) == []
    assert await world.of_fresh() == [EventKind.CHANGE_BEGUN, EventKind.CHANGE_RECONCILED]
