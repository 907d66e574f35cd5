"""What metrics cost a call: one process with two brokers, one of which tells them, called in turn in short blocks.

Two processes under full load differ by a fifth from round to round, for reasons of their own. Blocks of a few dozen
calls that follow each other within one process see the same machine, so that many pairs tell a percent from none.
"""

import argparse
import asyncio
import math
import os
import statistics
import sys
from collections.abc import Sequence

import grpc.aio

from bench.evidence import KEY
from bench.processes import cpu_seconds
from bench.results import Result, at_most
from bench.rows import open_hall
from bench.scene import REQUEST
from support.scraping import get
from valetkey.v1.token_service_pb2_grpc import TokenServiceStub
from valetkey_devstack.free_ports import free_port

_PAIRS_A_ROUND = 40
_CALLS = 32
_AT_ONCE = 16
_WARM_UP = 8
_SCRAPES = 20


async def with_metrics(arguments: argparse.Namespace) -> Sequence[Result]:
    """Calls both brokers in turn, the order changing from pair to pair."""
    async with open_hall() as hall:
        port, beside = free_port(), free_port()
        server = await hall.start(
            "both", "broker", cpus="0", options=("--metrics-port", str(port), "--beside", str(beside))
        )
        server.probe()
        pid = server.child.pid
        mine = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {1})
        try:
            credentials = grpc.ssl_channel_credentials(hall.ca_file.read_bytes())
            async with (
                grpc.aio.secure_channel(f"127.0.0.1:{server.port}", credentials) as told,
                grpc.aio.secure_channel(f"127.0.0.1:{beside}", credentials) as untold,
            ):
                stubs = (TokenServiceStub(untold), TokenServiceStub(told))

                async def block(which: int) -> float:
                    before = cpu_seconds(pid)
                    for _ in range(_CALLS // _AT_ONCE):
                        await asyncio.gather(*(_call(stubs[which]) for _ in range(_AT_ONCE)))
                    return (cpu_seconds(pid) - before) / _CALLS * 1e6

                for number in range(2 * _WARM_UP):
                    await block(number % 2)
                pairs: list[tuple[float, float]] = []
                for number in range(arguments.rounds * _PAIRS_A_ROUND):
                    first = number % 2
                    both = {first: await block(first), 1 - first: await block(1 - first)}
                    pairs.append((both[0], both[1]))
        finally:
            os.sched_setaffinity(0, mine)
        before, lines = cpu_seconds(pid), 0
        for _ in range(_SCRAPES):
            lines = len((await asyncio.to_thread(get, port, "/metrics"))[1].splitlines())
        scrape = (cpu_seconds(pid) - before) / _SCRAPES * 1000
    costs = sorted(told / untold for untold, told in pairs)
    low, high = confidence(costs)
    sys.stdout.write(
        f"CPU of a call with metrics: {statistics.median(costs) - 1:+.1%}, with 95 % confidence {low - 1:+.1%} to "
        f"{high - 1:+.1%}\n({len(costs)} pairs of {_CALLS} calls; a call takes "
        f"{statistics.median(untold for untold, _ in pairs):.0f} µs). A scrape of {lines} lines: {scrape:.1f} ms.\n\n"
    )
    note = f"95 % confidence: {low:.3f} to {high:.3f}"
    return [Result("IssueToken with metrics: CPU per call against without", costs, at_most(1.03), note)]


async def _call(stub: TokenServiceStub) -> None:
    await stub.IssueToken(REQUEST, metadata=(("authorization", f"Bearer {KEY}"),), timeout=60)


def confidence(values: Sequence[float]) -> tuple[float, float]:
    """Returns between which of the sorted `values` the true median lies, 19 times out of 20.

    Source: the ranks of the binomial distribution, by its normal approximation; it needs dozens of values, and asks
    nothing of how they are distributed.
    """
    half = 0.98 * math.sqrt(len(values))
    middle = len(values) / 2
    return values[max(0, math.floor(middle - half))], values[min(len(values) - 1, math.ceil(middle + half))]
