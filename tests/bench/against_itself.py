"""The broker against itself: with two workers, and during sweeps."""

import argparse
import sys
from collections.abc import Sequence

from bench.evidence import KEY
from bench.load import Measured, Plan
from bench.results import Result, at_most
from bench.rows import WARM_UP, Row, by_header, open_hall, print_rows, take_turns
from bench.sweep import CONTAINERS, MOST_TIMES, sweeps


async def two_workers(arguments: argparse.Namespace) -> Sequence[Result]:
    """Alternates one worker on one core and two workers, with one ledger, on two."""
    async with open_hall() as hall:
        alone = await hall.start("one", "broker", cpus="0")
        first = await hall.start("first", "broker", cpus="0", options=("--shared-port",))
        second = await hall.start(
            "second", "broker", cpus="1", port=first.port, ledger=first.ledger, options=("--shared-port",)
        )
        size = len(alone.probe().SerializeToString())
        one = Row("one worker", [alone], by_header(hall, alone, KEY))
        two = Row("two workers", [first, second], by_header(hall, first, KEY), one)
        plan = Plan(arguments.requests, arguments.connections, cpus="0,1")
        take_turns((one, two), plan, size, arguments.rounds)
    print_rows([one, two])
    sys.stdout.write(
        "Both workers write to one SQLite file. The load takes its share of the same two cores here, so this is less\n"
        "than two free cores would give.\n\n"
    )
    costs = [1 / ratio for ratio in two.cpu_ratios()]
    return [Result("two workers: CPU per call against one worker's", costs, at_most(1.0))]


async def during_sweeps(arguments: argparse.Namespace) -> Sequence[Result]:
    """Alternates rounds with and without sweeps of 25,000 containers, one after the other."""
    async with open_hall() as hall:
        broker = await hall.start("broker", "broker", cpus="0")
        load = by_header(hall, broker, KEY)
        size = len(broker.probe().SerializeToString())

        def sweeping(plan: Plan) -> Measured:
            warming_up = plan.requests <= WARM_UP
            with sweeps(broker.child.pid, hall.directory / "broker" / "sweeps", whole=not warming_up):
                return load(plan)

        idle = Row("no sweep", [broker], load)
        swept = Row("sweeps without a pause", [broker], sweeping, idle)
        # A sweep, which keeps to its share of the time, takes longer than a short round.
        plan = Plan(arguments.requests * 4, arguments.connections)
        take_turns((idle, swept), plan, size, arguments.rounds)
    print_rows([idle, swept])
    sys.stdout.write(f"Each sweep reads {CONTAINERS} containers, in pages of 5,000 as Azure has them.\n\n")
    times = [one.p99 / other.p99 for other, one in zip(idle.rounds, swept.rounds, strict=True)]
    return [
        Result(f"IssueToken's p99 while {CONTAINERS} containers are swept, against idle", times, at_most(MOST_TIMES))
    ]
