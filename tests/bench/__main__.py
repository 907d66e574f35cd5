"""`python -m bench`: what a token costs, beside a bare gRPC echo, earlier builds, and what one would do instead."""

import argparse
import asyncio
import sys
from pathlib import Path

from bench.evidence import KEY
from bench.load import BenchError, Plan, require_tools
from bench.parts import PARTS, SMALL_PARTS
from bench.results import Result, table, write
from bench.rows import Row, by_header, open_hall
from valetkey_broker.errors import ConfigurationError

_FILE = Path(__file__).parents[2] / "build" / "bench.json"


async def profile(arguments: argparse.Namespace) -> None:
    """Runs one round under cProfile and prints what took most time of its own, in the event loop's thread."""
    async with open_hall() as hall:
        out = hall.directory / "profile.txt"
        broker = await hall.start("broker", "broker", cpus="0", options=("--profile", out))
        row = Row("profiled", [broker], by_header(hall, broker, KEY))
        row.measure(Plan(arguments.requests, arguments.connections), len(broker.probe().SerializeToString()))
        await broker.child.stop()
        sys.stdout.write(out.read_text(encoding="utf-8"))


def _measured(arguments: argparse.Namespace) -> list[Result]:
    """Runs the parts that are wanted. What cannot be measured here keeps nothing else from being measured."""
    known = {**PARTS, **SMALL_PARTS}
    results: list[Result] = []
    for name in arguments.only or PARTS:
        try:
            results += asyncio.run(known[name](arguments))
        except (BenchError, ConfigurationError) as error:
            sys.stderr.write(f"Error: {name}: {error}\n")
            results.append(Result(name, (), note=str(error).partition("\n")[0]))
    return results


def main() -> int:
    """Runs the bench. Returns 1 where something could not be measured; with `--strict`, where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--requests", type=int, default=4000, help="calls a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16, choices=(1, 2, 4, 8, 16, 32, 64))
    parser.add_argument("--profile", action="store_true", help="one round under cProfile instead")
    parser.add_argument(
        "--only", action="append", choices=(*PARTS, *SMALL_PARTS), help="one part; several times: several"
    )
    parser.add_argument("--strict", action="store_true", help="fail where a target is missed, too")
    arguments = parser.parse_args()
    try:
        require_tools()
        if arguments.profile:
            asyncio.run(profile(arguments))
            return 0
    except BenchError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    results = _measured(arguments)
    sys.stdout.write(table(results))
    write(results, _FILE)
    sys.stdout.write(f"Also in {_FILE.relative_to(_FILE.parents[1])}, round by round.\n")
    verdicts = {result.verdict for result in results}
    return int("not measured" in verdicts or (arguments.strict and "missed" in verdicts))


if __name__ == "__main__":
    sys.exit(main())
