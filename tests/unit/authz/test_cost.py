"""Deciding takes as many steps with ten grants as with a thousand; `make bench` measures the time."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

from support.core import principal
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import ResourceId

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


def steps(work: Callable[[], Any]) -> int:
    """Returns how many instructions of the interpreter `work` takes: the same on every machine, however busy."""
    counted = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal counted
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        counted += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return counted


def test_steps_are_counted() -> None:
    """The measure itself sees a loop that grows, calls or no calls in it."""
    assert steps(lambda: [number for number in range(1000) if number == 7]) > 5 * steps(
        lambda: [number for number in range(100) if number == 7]
    )


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
def test_steps_do_not_grow_with_the_grants(bench: ModuleType, shape: str) -> None:
    """Neither an allowed nor a refused request looks at the grants of others, the first after a change included."""
    stranger, models = principal(name="key:stranger"), ResourceId.parse("models")
    counted: dict[str, list[int]] = {"again": [], "first": [], "refused": []}
    for policy, _, requests in bench.prepare(shape, few=10, many=1000):

        def decide(policy: Any = policy, requests: Any = requests) -> None:
            for caller, resource in requests:
                policy.decide(caller, resource, bench.READ, ttl=900)

        def refuse(policy: Any = policy) -> None:
            try:
                policy.decide(stranger, models, bench.READ, ttl=900)
            except BrokerError:
                return
            pytest.fail("a stranger was let in")

        decide()
        counted["again"].append(steps(decide))
        refuse()
        counted["refused"].append(steps(refuse))
        policy.index.forget()
        counted["first"].append(steps(decide))
    ratios = {kind: many / few for kind, (few, many) in counted.items()}
    assert ratios["again"] <= 1.1, counted
    assert ratios["refused"] <= 1.1, counted
    assert ratios["first"] <= 1.5, counted
