"""The table that `make bench` ends with: what was measured, round by round, and what it ought to be."""

import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Target:
    """What a median ought to be: at least, or at most, `value`."""

    value: float
    at_least: bool = False

    def met_by(self, median: float) -> bool:
        """Tells whether the median of what was measured is good enough."""
        return median >= self.value if self.at_least else median <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.value:g}"


def at_least(value: float) -> Target:
    """Returns the target of what ought to be large."""
    return Target(value, at_least=True)


def at_most(value: float) -> Target:
    """Returns the target of what ought to be small."""
    return Target(value)


@dataclass(frozen=True, slots=True)
class Result:
    """A line of the table.

    `values` holds what each round gave, the ratio of one round's two sides where it is a ratio; it is empty where
    nothing could be measured, and `note` then says why.
    """

    what: str
    values: Sequence[float]
    target: Target | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Between which the middle half of the rounds lies; of fewer than four rounds, all of them."""
        values = sorted(self.values)
        if len(values) < 4:
            return values[0], values[-1]
        low, _, high = statistics.quantiles(values, n=4)
        return low, high

    @property
    def verdict(self) -> str:
        """Whether the target is met, in a word; empty where there is none."""
        if not self.values:
            return "not measured"
        return "" if self.target is None else "met" if self.target.met_by(self.median) else "missed"


def table(results: Sequence[Result]) -> str:
    """Returns the table for people."""
    width = max(len(result.what) for result in results)
    lines = [f"{'':<{width}}{'median':>10}{'quartiles':>20}{'rounds':>8}  {'target':<10}"]
    for result in results:
        numbers = f"{'-':>10}{'-':>20}{0:>8}"
        if result.values:
            low, high = result.quartiles
            numbers = f"{result.median:>10.3g}{f'{low:.3g} to {high:.3g}':>20}{len(result.values):>8}"
        target = "" if result.target is None else str(result.target)
        lines.append(f"{result.what:<{width}}{numbers}  {target:<10}{result.verdict:<14}{result.note}".rstrip())
    return "\n".join(lines) + "\n"


def write(results: Sequence[Result], file: Path) -> None:
    """Writes the table for programs: every round, and the machine it was on."""
    file.parent.mkdir(parents=True, exist_ok=True)
    told = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "results": [_as_json(result) for result in results],
    }
    file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _as_json(result: Result) -> dict[str, object]:
    measured = {"median": result.median, "quartiles": result.quartiles} if result.values else {}
    target = None if result.target is None else str(result.target)
    values = list(result.values)
    return {"what": result.what, **measured, "values": values, "target": target, "met": result.verdict} | (
        {"note": result.note} if result.note else {}
    )
