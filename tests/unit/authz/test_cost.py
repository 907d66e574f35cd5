"""Deciding costs the same with ten grants and with ten thousand."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "bench/decide.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_decide", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "shape",
    [
        "one grant a principal",
        "patterns of principals",
        "patterns of all lengths",
        "one principal, many containers",
        "attributes",
    ],
)
def test_cost_does_not_grow_with_the_grants(bench: ModuleType, shape: str) -> None:
    """Neither an allowed nor a refused request pays for the grants of others; a busy machine gets several tries."""
    ratios = []
    policies = bench.prepare(shape)
    for _ in range(8):
        measured = bench.measure(policies, repeats=2)
        ratios.append({kind: many / few for kind, (few, many) in measured.items()})
        best = {kind: min(ratio[kind] for ratio in ratios) for kind in measured}
        if best["again"] <= 1.2 and best["refused"] <= 1.2 and best["first"] <= 2:
            return
    pytest.fail(f"the ratio of 10,000 grants to 10 is {best}")
