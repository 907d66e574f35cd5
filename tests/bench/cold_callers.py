"""A thousand callers that come at once, each over a connection of its own, to a broker that has just started."""

import argparse
import statistics
import sys
from collections.abc import Sequence

from bench.evidence import KEY
from bench.load import BenchError, Plan
from bench.results import Result, at_most
from bench.rows import by_header, open_hall

_CALLERS = 1000
_AZURE_SECONDS = "0.2"


async def after_a_restart(arguments: argparse.Namespace) -> Sequence[Result]:
    """Lets the callers come to a broker that has no signing key yet, and then once more, when it is warm."""
    plan = Plan(_CALLERS, _CALLERS, calls=_CALLERS)
    requests: list[float] = []
    times: list[float] = []
    cold_millis: list[float] = []
    async with open_hall() as hall:
        for number in range(max(2, arguments.rounds // 2)):
            broker = await hall.start(
                f"restart-{number}", "broker", cpus="0", options=("--azure-seconds", _AZURE_SECONDS)
            )
            broker.until_serving()
            load = by_header(hall, broker, KEY)
            before, asked = broker.issued(), broker.key_requests()
            cold = load(plan)
            requests.append(broker.key_requests() - asked)
            if not requests[-1]:
                raise BenchError("the broker was warm before its first caller came")
            warm = load(plan)
            if broker.issued() - before != 2 * _CALLERS:
                raise BenchError("some of the callers got no token")
            times.append(cold.p99 / warm.p99)
            cold_millis.append(cold.p99)
            await broker.child.stop()
    sys.stdout.write(
        f"{_CALLERS} callers at once, each over a connection of its own; a key takes {_AZURE_SECONDS} s to come.\n"
        f"The p99 of a first token is {statistics.median(cold_millis):.0f} ms.\n\n"
    )
    return [
        Result(f"{_CALLERS} cold callers after a restart: requests for a signing key", requests, at_most(1)),
        Result(f"{_CALLERS} cold callers after a restart: p99 of a first token against a warm p99", times, at_most(3)),
    ]
