"""Several broker processes on one ledger, and one whose disk is full."""

import asyncio
import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from support.ledgers import open_ledger
from support.postgres import running_postgres
from valetkey_broker.model import EventFilter

WORKERS = 4
EVENTS = 1000


async def run_python(*arguments: str, status: int = 0) -> str:
    """Runs Python with the tests' modules and returns what it prints. Fails where it ends otherwise than expected."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == status, output.decode()
    return output.decode()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_four_workers_lose_nothing(kind: str, tmp_path: Path) -> None:
    """Four processes that start at once on a new ledger and write as fast as they can lose no record."""
    if kind == "sqlite":
        await load(f"sqlite:///{tmp_path}/ledger.db")
        return
    async with running_postgres() as postgres:
        await load(postgres.url())


async def load(url: str) -> None:
    arguments = ("-m", "support.ledger_load", url, str(EVENTS), "16")
    outputs = await asyncio.wait_for(asyncio.gather(*(run_python(*arguments) for _ in range(WORKERS))), 240)
    writers = {output.rpartition("writer=")[2].strip() for output in outputs}
    async with open_ledger(url) as ledger:
        found = await ledger.verify()
        assert found.intact, found.problem
        assert {head.writer: head.sequence for head in found.heads} == dict.fromkeys(writers, EVENTS)
        stored = await ledger.events(EventFilter(limit=WORKERS * EVENTS + 1))
    purposes = Counter(each.event.purpose for each in stored)
    assert len(purposes) == WORKERS * EVENTS
    assert set(purposes.values()) == {1}


# A limit on the size of files stands for the end of the disk: neither the WAL nor the file has room for a page more.
_FULL_DISK = """
import asyncio, json, resource, sys
from valetkey_broker.errors import BrokerError
from support.ledgers import issued, open_ledger
from support.waiting import eventually

async def main(path):
    said = {"causes": [], "healthy": []}
    async with open_ledger(f"sqlite:///{path}") as ledger:
        for _ in range(5):
            await ledger.record(issued())
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        for _ in range(3):
            results = await asyncio.gather(*(ledger.record(issued()) for _ in range(20)), return_exceptions=True)
            said["causes"] += [getattr(r, "metadata", {}).get("cause", str(r)) for r in results]
            said["healthy"].append(ledger.healthy())
            await asyncio.sleep(0.2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await eventually(ledger.healthy)
        await ledger.record(issued())
        found = await ledger.verify()
        said |= {"intact": found.intact, "records": found.records}
    print("said=" + json.dumps(said))

asyncio.run(main(sys.argv[1]))
"""


async def test_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    """With no room left every decision is refused, and once there is room it goes on by itself, chain intact."""
    output = await run_python("-c", _FULL_DISK, str(tmp_path / "ledger.db"))
    said = json.loads(output.rpartition("said=")[2])
    assert len(said["causes"]) == 60
    assert set(said["causes"]) <= {"disk-full", "io-error"}
    assert said["healthy"] == [False] * 3
    assert said["intact"]
    assert said["records"] == 6


async def test_worker_that_is_killed_loses_nothing_it_answered(tmp_path: Path) -> None:
    """Whoever was told that an event is on record finds it there, though the process died the moment after."""
    script = """
import asyncio, os, sys
from support.ledgers import issued, open_ledger

async def main(path):
    async with open_ledger(f"sqlite:///{path}") as ledger:
        first = asyncio.Event()
        async def caller(number):
            for turn in range(100_000):
                await ledger.record(issued(purpose=f"{number}-{turn}"))
                os.write(1, f"told={number}-{turn}\\n".encode())
                first.set()
        async def die():
            await first.wait()
            await asyncio.sleep(0.5)
            os.kill(os.getpid(), 9)
        dying = asyncio.create_task(die())
        await asyncio.gather(*(caller(number) for number in range(8)))

asyncio.run(main(sys.argv[1]))
"""
    lines = (await run_python("-c", script, str(tmp_path / "ledger.db"), status=-9)).splitlines()
    told = {line.removeprefix("told=") for line in lines if line.startswith("told=")}
    async with open_ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        stored = {each.event.purpose for each in await ledger.events(EventFilter(limit=100_000))}
        assert told
        assert told <= stored
        assert (await ledger.verify()).intact
