"""`python -m bench`: what IssueToken costs beside a bare gRPC echo, and what a second worker brings."""

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.load import BenchError, Measured, h2load, require_tools
from bench.processes import Hall, Server

_TARGET = 0.70
_CALLS = 64
# A signature is base64 in a URL: how long a token gets varies by a few escaped characters.
_SIZE_TOLERANCE = 0.02
_WARM_UP = 1500


@dataclass(slots=True)
class Series:
    """The rounds of one contestant."""

    name: str
    rounds: list[Measured] = field(default_factory=list)

    def median(self, attribute: str) -> float:
        """Returns the median over the rounds."""
        return float(statistics.median(getattr(measured, attribute) for measured in self.rounds))


@contextlib.asynccontextmanager
async def _hall() -> AsyncIterator[Hall]:
    with tempfile.TemporaryDirectory(prefix="valetkey-bench-") as name:
        hall = Hall(Path(name))
        try:
            yield hall
        finally:
            await hall.close()


def _measure(hall: Hall, servers: list[Server], size: int, arguments: argparse.Namespace, cpus: str) -> Measured:
    """Loads servers that share a port, and makes sure that every answer was a token that was recorded."""
    is_broker = servers[0].name != "echo"
    before = sum(server.issued() for server in servers)
    cpu_before = sum(server.cpu_seconds() for server in servers)
    measured = h2load(
        hall.directory,
        servers[0].port,
        cpus=cpus,
        requests=arguments.requests,
        connections=arguments.connections,
        calls=_CALLS,
    )
    cpu = sum(server.cpu_seconds() for server in servers) - cpu_before
    recorded = sum(server.issued() for server in servers) - before
    if is_broker and recorded != measured.requests:
        raise BenchError(f"{measured.requests} answers, yet {recorded} tokens recorded")
    if abs(measured.answer_bytes - size) > size * _SIZE_TOLERANCE:
        raise BenchError(f"answers of {measured.answer_bytes:.0f} bytes, where a token takes {size}")
    servers[0].probe()
    return replace(measured, cpu_micros=cpu / measured.requests * 1e6)


def _warm(hall: Hall, server: Server, arguments: argparse.Namespace, cpus: str) -> None:
    h2load(hall.directory, server.port, cpus=cpus, requests=_WARM_UP, connections=arguments.connections, calls=_CALLS)


async def against_echo(arguments: argparse.Namespace) -> float:
    """Alternates echo and broker, one core each server, the load on the other. Prints a table, returns the ratio."""
    async with _hall() as hall:
        broker = await hall.start("broker", "broker", cpus="0")
        answer = broker.probe()
        sample = hall.directory / "answer.bin"
        sample.write_bytes(answer.SerializeToString())
        echo = await hall.start("echo", "echo", cpus="0", options=("--answer", sample))
        size = len(sample.read_bytes())
        series = (Series("bare echo"), Series("IssueToken"))
        for server in (echo, broker):
            _warm(hall, server, arguments, "1")
        for _ in range(arguments.rounds):
            for server, one in zip((echo, broker), series, strict=True):
                one.rounds.append(_measure(hall, [server], size, arguments, "1"))
    ratio = _table(series)
    sys.stdout.write(
        f"{_CALLS} calls at a time over {arguments.connections} TLS connections, {arguments.requests} a round, "
        f"{arguments.rounds} rounds; answers of {size} bytes.\n"
        f"Target: {_TARGET:.2f} of the bare echo.\n\n"
    )
    return ratio


async def two_workers(arguments: argparse.Namespace) -> float:
    """Alternates one worker on one core and two workers on two. Prints a table, returns the ratio."""
    async with _hall() as hall:
        one = [await hall.start("one", "broker", cpus="0")]
        two = [await hall.start("first", "broker", cpus="0", options=("--shared-port",))]
        two.append(await hall.start("second", "broker", cpus="1", port=two[0].port, options=("--shared-port",)))
        size = len(one[0].probe().SerializeToString())
        series = (Series("one worker"), Series("two workers"))
        for servers in (one, two):
            _warm(hall, servers[0], arguments, "0,1")
        for _ in range(arguments.rounds):
            for servers, result in zip((one, two), series, strict=True):
                result.rounds.append(_measure(hall, servers, size, arguments, "0,1"))
        shares = [server.issued() for server in two]
    ratio = _table(series)
    sys.stdout.write(
        f"h2load takes its share of the same two cores here, so this is less than two free cores would give.\n"
        f"The kernel spread the connections {shares[0] / sum(shares):.0%} to {shares[1] / sum(shares):.0%}.\n"
    )
    return ratio


async def profile(arguments: argparse.Namespace) -> None:
    """Runs one round under cProfile and prints what took most time of its own."""
    async with _hall() as hall:
        out = hall.directory / "profile.txt"
        broker = await hall.start("broker", "broker", cpus="0", options=("--profile", out))
        _measure(hall, [broker], len(broker.probe().SerializeToString()), arguments, "1")
        await broker.child.stop()
        sys.stdout.write(out.read_text(encoding="utf-8"))


def _table(series: tuple[Series, Series]) -> float:
    """Prints both, medians over the rounds, and the median of the ratios of each round's pair."""
    ratios = [b.per_second / a.per_second for a, b in zip(series[0].rounds, series[1].rounds, strict=True)]
    ratio = statistics.median(ratios)
    out = [f"{'':<12}{'calls/s':>10}{'p50 ms':>10}{'p99 ms':>10}{'CPU µs/call':>14}"]
    out += [
        f"{one.name:<12}{one.median('per_second'):>10.0f}{one.median('p50'):>10.2f}{one.median('p99'):>10.2f}{one.median('cpu_micros'):>14.0f}"
        for one in series
    ]
    out.append(f"{'ratio':<12}{ratio:>10.2f}    (rounds: {', '.join(f'{value:.2f}' for value in ratios)})")
    sys.stdout.write("\n".join(out) + "\n")
    return ratio


def main() -> int:
    """Runs the bench. Returns 1 where it could not measure, or where `--floor` is given and not reached."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--requests", type=int, default=5000, help="calls a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16, choices=(1, 2, 4, 8, 16, 32, 64))
    parser.add_argument("--profile", action="store_true", help="one round under cProfile instead")
    parser.add_argument("--only", choices=("echo", "workers"), help="one of the two comparisons")
    parser.add_argument("--floor", type=float, default=0.0, help="fail where the ratio to the echo is lower")
    arguments = parser.parse_args()
    ratio: float | None = None
    try:
        require_tools()
        if arguments.profile:
            asyncio.run(profile(arguments))
            return 0
        if arguments.only != "workers":
            ratio = asyncio.run(against_echo(arguments))
        if arguments.only != "echo":
            asyncio.run(two_workers(arguments))
    except BenchError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    if ratio is not None and ratio < arguments.floor:
        sys.stderr.write(f"Error: the ratio {ratio:.2f} is under {arguments.floor:.2f}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
