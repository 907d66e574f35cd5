"""The table of `make bench`: a target is met or missed by the median, and what was not measured says so."""

import json
from pathlib import Path

from bench.metrics_cost import confidence
from bench.results import Result, at_least, at_most, table, write

RESULTS = [
    Result("tokens", [9.0, 7.0, 8.5, 8.25, 8.0], at_least(8)),
    Result("cost", [0.9, 0.7], at_most(0.68)),
    Result("away", (), at_most(1), "no OpenBao here"),
    Result("told", [1.0]),
]


def test_verdicts() -> None:
    """The median decides, whichever way the target points; without one there is no verdict."""
    assert [result.verdict for result in RESULTS] == ["met", "missed", "not measured", ""]
    assert RESULTS[0].quartiles == (7.5, 8.75)
    assert RESULTS[1].quartiles == (0.7, 0.9)


def test_people_and_programs_read_the_same(tmp_path: Path) -> None:
    """Each line stands in the table and in the file, which has every round besides."""
    lines = table(RESULTS).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["tokens", "cost", "away", "told"]
    assert lines[1].split()[1:] == ["8.25", "7.5", "to", "8.75", "5", "≥", "8", "met"]
    assert lines[3].endswith("not measured  no OpenBao here")
    write(RESULTS, tmp_path / "build" / "bench.json")
    told = json.loads((tmp_path / "build" / "bench.json").read_text(encoding="utf-8"))["results"]
    assert [(each["what"], each["met"]) for each in told] == [(result.what, result.verdict) for result in RESULTS]
    assert told[0]["values"] == [9.0, 7.0, 8.5, 8.25, 8.0]


def test_the_confidence_of_a_median() -> None:
    """Of 200 values in order, the 87th and the 115th have the true median between them, 19 times out of 20."""
    assert confidence([float(each) for each in range(200)]) == (86.0, 114.0)
    assert confidence([1.0, 2.0, 3.0]) == (1.0, 3.0)
