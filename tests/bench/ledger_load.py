"""`make ledger-load RECORDS=5000000`: what a large ledger costs, beside one of 5,000 records, on SQLite and PostgreSQL.

The first pages of lists, a check of everything, and pruning with callers who wait for their records meanwhile. The
ledgers are filled past the broker, at 80 µs of processor time a record, and 1 GB of disk for each million and database.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from bench.large_ledger import DAY, DAYS, Rare, fill
from support.ledgers import issued, open_ledger
from support.postgres import running_postgres
from valetkey_broker.ledger.chain_verification import verify
from valetkey_broker.ledger.database import Database
from valetkey_broker.ledger.ledger import SqlLedger
from valetkey_broker.ledger.reader import read_events, read_leases
from valetkey_broker.ledger.table_inspection import index_errors
from valetkey_broker.model import EventFilter, EventKind, LeaseFilter, Secret

FEW = 5000
_PAGE = 101
_REPEATS = 5
_CALLERS, _PAUSE_SECONDS, _IDLE_SECONDS = 4, 0.005, 10.0
_PRUNED_SHARE = 0.01
Ask = Callable[[Database], object]


def _asks(rare: Rare, now: float) -> dict[str, Ask]:
    leases = {
        "lease list": LeaseFilter(active_at=now, limit=_PAGE),
        "lease list --all": LeaseFilter(limit=_PAGE),
        "lease list --principal, none lives": LeaseFilter(principal="key:trainer-5", active_at=now + DAY, limit=_PAGE),
        "lease list --all --principal": LeaseFilter(principal="key:trainer-5", limit=_PAGE),
        "lease list --all --principal, rare": LeaseFilter(principal=rare.principal, limit=_PAGE),
        "lease list --all --resource": LeaseFilter(container="models-7", limit=_PAGE),
        "lease list --all --resource, rare": LeaseFilter(container=rare.container, limit=_PAGE),
        "lease list --all --connector": LeaseFilter(connector="azure-1", limit=_PAGE),
        "lease list --all --connector --principal, rare": LeaseFilter(
            connector="azure-1", principal=rare.principal, limit=_PAGE
        ),
    }
    searches = {
        "audit search --principal": EventFilter(principal="key:trainer-5", limit=_PAGE),
        "audit search --principal, rare": EventFilter(principal=rare.principal, limit=_PAGE),
        "audit search --connector": EventFilter(connector="azure-1", limit=_PAGE),
        "audit search --connector --kind, rare": EventFilter(connector="azure-1", kind=EventKind.ROTATION, limit=_PAGE),
        "audit search --resource": EventFilter(container="models-7", limit=_PAGE),
        "audit search --resource, rare": EventFilter(container=rare.container, limit=_PAGE),
        "audit search --lease-id": EventFilter(lease_id=rare.lease_id, limit=_PAGE),
        "audit search --request-id": EventFilter(request_id=rare.request_id, limit=_PAGE),
        "audit tail": EventFilter(newest=True, limit=_PAGE),
    }
    return {
        **{name: lambda database, wanted=each: read_leases(database, wanted) for name, each in leases.items()},
        **{name: lambda database, wanted=each: read_events(database, wanted) for name, each in searches.items()},
    }


def _pages(small: Database, large: Database, rares: tuple[Rare, Rare], now: float) -> None:
    both = [_asks(rare, now) for rare in rares]
    for name in both[0]:
        least = [float("inf")] * 2
        for _ in range(_REPEATS):
            for which, database in enumerate((small, large)):
                began = time.perf_counter()
                both[which][name](database)
                least[which] = min(least[which], time.perf_counter() - began)
        few, many = least
        _say(f"{name:48} {few * 1e3:9.1f} ms {many * 1e3:9.1f} ms {many / few:7.2f}")


def _checks(small: Database, large: Database) -> None:
    for database in (small, large):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, used = time.perf_counter(), time.thread_time()
        found = verify(database, [])
        used, took = time.thread_time() - used, time.perf_counter() - began
        with database.reading() as connection:
            indexes = time.thread_time()
            index_errors(database, connection)
            indexes = time.thread_time() - indexes
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        if not found.intact:
            raise SystemExit(found.problem)
        rate, without = found.records / used, found.records / (used - indexes)
        _say(
            f"audit verify, {found.records:,}: {took:.1f} s, {rate:,.0f} records a core second ({without:,.0f} without "
            f"the database's look at its indexes), {grown:.0f} MiB more"
        )


async def _pruning(url: str, now: float) -> None:
    async with open_ledger(url, retention_days=DAYS * 2) as ledger:
        idle = await _waits(ledger, asyncio.create_task(asyncio.sleep(_IDLE_SECONDS)))
        began = time.perf_counter()
        pruning = asyncio.create_task(ledger.prune(now - DAYS * DAY * (1 - _PRUNED_SHARE)))
        busy = await _waits(ledger, pruning)
        took, removed = time.perf_counter() - began, await pruning
        _say(
            f"pruning, {removed:,} records in {took:.1f} s; p99 of a record idle {idle * 1e3:.0f} ms, "
            f"meanwhile {busy * 1e3:.0f} ms: {busy / idle:.2f}"
        )


async def _waits(ledger: SqlLedger, until: "asyncio.Task[object] | asyncio.Task[int]") -> float:
    """Returns the p99 of how long callers wait for their records until a task is done, in seconds."""
    waits: list[float] = []

    async def caller() -> None:
        while not until.done():
            began = time.perf_counter()
            await ledger.record(issued(time=time.time(), expires=int(time.time()) + 900))
            waits.append(time.perf_counter() - began)
            await asyncio.sleep(_PAUSE_SECONDS)

    await asyncio.gather(*(caller() for _ in range(_CALLERS)))
    return statistics.quantiles(waits, n=100)[98]


@contextlib.asynccontextmanager
async def _urls(kind: str, directory: Path) -> AsyncIterator[Sequence[str]]:
    if kind == "sqlite":
        yield [f"sqlite:///{directory}/{name}.db" for name in ("small", "large")]
        return
    async with running_postgres() as server:
        for name in ("small", "large"):
            await server.run(f"CREATE DATABASE {name}")
        yield [server.url(name) for name in ("small", "large")]


async def _measure(kind: str, records: int, directory: Path) -> None:
    now = time.time()
    async with _urls(kind, directory) as urls:
        small, large = databases = [Database(lambda url=url: Secret(url), 60.0) for url in urls]  # type: ignore[misc]
        rares = []
        for database, count in zip(databases, (FEW, records), strict=True):
            began = time.perf_counter()
            rares.append(fill(database, count, now))
            _say(f"{kind}: {count:,} records written in {time.perf_counter() - began:.0f} s")
        _say(f"{'first page of ' + str(_PAGE - 1):48} {f'{FEW:,}':>12} {f'{records:,}':>12} {'ratio':>7}")
        _pages(small, large, (rares[0], rares[1]), now)
        _checks(small, large)
        for url in urls:
            await _pruning(url, now)
        for database in databases:
            database.close()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Fills, measures and prints; what was filled is removed."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger_load", description=__doc__)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--only", choices=("sqlite", "postgres"))
    arguments = parser.parse_args()
    for kind in [arguments.only] if arguments.only else ["sqlite", "postgres"]:
        directory = Path(tempfile.mkdtemp(prefix="valetkey-ledger-", dir=os.environ.get("TMPDIR")))
        try:
            asyncio.run(_measure(kind, arguments.records, directory))
        finally:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
