"""The contestants of a comparison: servers under a load, round by round."""

import contextlib
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.load import BenchError, Measured, Plan, h2load, with_certificate
from bench.processes import Hall, Server

# A signature is base64 in a URL: how long a token gets varies by a few escaped characters.
_SIZE_TOLERANCE = 0.02
WARM_UP = 1500
"""So many calls warm a row up before the first round."""


@dataclass(slots=True)
class Row:
    """One contestant with its rounds: a load on servers that share a port. `beside` is the one it is compared with.

    Each call brings `tokens`; processor time is for one of them.
    """

    name: str
    servers: Sequence[Server]
    load: Callable[[Plan], Measured]
    beside: "Row | None" = None
    tokens: int = 1
    rounds: list[Measured] = field(default_factory=list)

    def median(self, attribute: str) -> float:
        """Returns the median over the rounds."""
        return float(statistics.median(getattr(measured, attribute) for measured in self.rounds))

    def ratios(self) -> list[float]:
        """Returns the throughput beside the other's, round by round."""
        if self.beside is None:
            return []
        pairs = zip(self.beside.rounds, self.rounds, strict=True)
        return [one.per_second / other.per_second for other, one in pairs]

    def cpu_ratios(self) -> list[float]:
        """Returns the other's processor time for a call by this one's: how much more this one gets out of a core."""
        if self.beside is None:
            return []
        pairs = zip(self.beside.rounds, self.rounds, strict=True)
        return [other.cpu_micros / one.cpu_micros for other, one in pairs]

    def measure(self, plan: Plan, size: int) -> None:
        """Adds a round, and makes sure that every answer was a token that was recorded."""
        is_broker = self.servers[0].name != "echo"
        before = self.servers[0].issued() if is_broker else 0
        cpu_before = sum(server.cpu_seconds() for server in self.servers)
        measured = self.load(plan)
        cpu = sum(server.cpu_seconds() for server in self.servers) - cpu_before
        tokens = measured.requests * self.tokens
        if is_broker and (recorded := self.servers[0].issued() - before) != tokens:
            raise BenchError(f"{self.name}: {tokens} tokens answered, yet {recorded} recorded")
        if abs(measured.answer_bytes / self.tokens - size) > size * _SIZE_TOLERANCE:
            raise BenchError(
                f"{self.name}: answers of {measured.answer_bytes:.0f} bytes; {self.tokens} tokens take {size} each"
            )
        self.rounds.append(replace(measured, cpu_micros=cpu / tokens * 1e6))


def take_turns(rows: Sequence[Row], plan: Plan, size: int, rounds: int) -> None:
    """Warms each row up, and then measures one after the other, again and again."""
    for row in rows:
        row.load(replace(plan, requests=WARM_UP))
    for _ in range(rounds):
        for row in rows:
            row.measure(plan, size)


@contextlib.asynccontextmanager
async def open_hall() -> AsyncIterator[Hall]:
    """Gives a place for servers; ends them all afterwards."""
    with tempfile.TemporaryDirectory(prefix="valetkey-bench-") as name:
        hall = Hall(Path(name))
        try:
            yield hall
        finally:
            await hall.close()


def by_header(hall: Hall, server: Server, bearer: str) -> Callable[[Plan], Measured]:
    """Returns a load whose callers show an API key or a JWT."""
    return lambda plan: h2load(hall.directory, server.port, bearer, plan)


def by_certificate(hall: Hall, server: Server) -> Callable[[Plan], Measured]:
    """Returns a load whose callers show a certificate."""
    files = (hall.ca_file, hall.evidence.certificate, hall.evidence.key)
    return lambda plan: with_certificate(hall.directory, server.certificate_port, files, plan)


def print_rows(rows: Sequence[Row]) -> None:
    """Prints the rows: medians over the rounds, and of each round's ratio the median, the least and the greatest."""
    out = [f"{'':<22}{'calls/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs/call':>13}{'load':>6}{'ratio':>8}  rounds"]
    for row in rows:
        line = (
            f"{row.name:<22}{row.median('per_second'):>9.0f}{row.median('p50'):>9.2f}{row.median('p99'):>9.2f}"
            f"{row.median('cpu_micros'):>13.0f}{row.median('busy'):>6.0%}"
        )
        if ratios := row.ratios():
            line += f"{statistics.median(ratios):>8.2f}  {min(ratios):.2f} to {max(ratios):.2f}"
        out.append(line)
    sys.stdout.write("\n".join(out) + "\n")
