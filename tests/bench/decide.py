"""What deciding costs, with few grants and with many. Run: `python tests/bench/decide.py` prints µs and their ratio."""

import gc
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.results import Result, at_most
from support.core import NOW, make_connector, make_grant, principal
from valetkey_broker.authz.policy import Policy
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import Grant, Permission, PermissionSet, Principal, ResourceId
from valetkey_broker.state.memory import Memory

READ = PermissionSet((Permission.READ, Permission.LIST))
# So many callers take turns, whatever the number of grants: what is compared is the grants.
_CALLERS = 10
_SHAPES = (
    "one grant a principal",
    "patterns of principals",
    "patterns of all lengths",
    "one principal, many containers",
    "attributes",
)

# How many times as much a decision may cost with 10,000 grants as with 10; a busy machine gets several tries.
_MOST = 1.2
_TRIES = 4

Request = tuple[Principal, ResourceId]
Scene = tuple[Policy, Memory, list[Request]]


def _grants(shape: str, count: int) -> Iterator[tuple[Grant, Request]]:
    """Gives grants of a shape, each with a request that it allows."""
    connector = make_connector()
    yield_from = {
        "one grant a principal": lambda n: (f"key:caller-{n}", f"key:caller-{n}", "models", {}),
        "patterns of principals": lambda n: (
            f"spiffe://ml.invalid/ns/team-{n}/sa/*",
            f"spiffe://ml.invalid/ns/team-{n}/sa/trainer",
            "models",
            {},
        ),
        "patterns of all lengths": lambda n: (
            f"spiffe://ml.invalid/ns/{'x' * (n % 90)}{n}/sa/*{'y' * (n % 30)}",
            f"spiffe://ml.invalid/ns/{'x' * (n % 90)}{n}/sa/trainer{'y' * (n % 30)}",
            "models",
            {},
        ),
        "one principal, many containers": lambda n: ("key:caller", "key:caller", f"models-{n}", {}),
        "attributes": lambda n: (
            "oidc:https://kube.invalid#system:serviceaccount:*:trainer",
            f"oidc:https://kube.invalid#system:serviceaccount:team-{n}:trainer",
            "models",
            {"namespace": f"team-{n}"},
        ),
    }[shape]
    for number in range(count):
        named, caller, container, attributes = yield_from(number)
        grant = make_grant(
            f"grant-{number}", connector, principals=(named,), containers=(container,), attributes=attributes
        )
        yield grant, (principal(name=caller, attributes=attributes), ResourceId.parse(container))


def _policy(shape: str, count: int) -> Scene:
    memory = Memory()
    requests = []
    policy = Policy(memory, lambda: NOW)
    for grant, request in _grants(shape, count):
        memory.put_grant(grant)
        requests.append(request)
        connector = grant.connectors[0]
    memory.put_connector(make_connector(uid=connector.uid))
    step = max(1, count // _CALLERS)
    return policy, memory, requests[::step][:_CALLERS]


def _seconds(policy: Policy, requests: list[Request], rounds: int) -> float:
    for caller, resource in requests:
        policy.decide(caller, resource, READ, ttl=900)
    began = time.thread_time()
    for caller, resource in islice(cycle(requests), rounds):
        policy.decide(caller, resource, READ, ttl=900)
    return (time.thread_time() - began) / rounds


def _first_seconds(policy: Policy, memory: Memory, requests: list[Request], rounds: int) -> float:
    """Measures what the first decision after a change costs: nothing is remembered then."""
    total = 0.0
    for caller, resource in islice(cycle(requests), rounds):
        policy.index.forget()
        began = time.thread_time()
        policy.decide(caller, resource, READ, ttl=900)
        total += time.thread_time() - began
    return total / rounds


def _refused_seconds(policy: Policy, rounds: int) -> float:
    stranger, resource = principal(name="key:stranger"), ResourceId.parse("models")
    began = time.thread_time()
    for _ in range(rounds):
        try:
            policy.decide(stranger, resource, READ, ttl=900)
        except BrokerError:
            continue
        raise AssertionError("a stranger was let in")
    return (time.thread_time() - began) / rounds


def prepare(shape: str, few: int = 10, many: int = 10_000) -> Sequence[Scene]:
    """Returns a policy with few grants of a shape and one with many, each with its memory and requests."""
    return [_policy(shape, count) for count in (few, many)]


def measure(policies: Sequence[Scene], *, repeats: int = 15) -> Mapping[str, tuple[float, float]]:
    """Returns seconds a decision with few and with many grants: `again`, `first` after a change, and `refused`."""
    best: dict[str, list[float]] = {kind: [float("inf")] * 2 for kind in ("again", "first", "refused")}
    gc.collect()
    gc.freeze()  # Ten thousand objects more to walk through are not what is measured.
    for _ in range(repeats):  # Taking turns: a machine that slows down slows down both.
        for which, (policy, memory, requests) in enumerate(policies):
            best["again"][which] = min(best["again"][which], _seconds(policy, requests, 5_000))
            best["first"][which] = min(best["first"][which], _first_seconds(policy, memory, requests, 20))
            best["refused"][which] = min(best["refused"][which], _refused_seconds(policy, 1_000))
    gc.unfreeze()
    return {kind: (values[0], values[1]) for kind, values in best.items()}


def deciding() -> list[Result]:
    """Prints a table and returns its dearest row; a shape that costs too much is measured several times."""
    sys.stdout.write(f"{'grants':32} {'decision':10} {'10':>10} {'10,000':>10} {'ratio':>7}\n")
    ratios = []
    for shape in _SHAPES:
        policies = prepare(shape)
        for _ in range(_TRIES):
            measured = measure(policies)
            if all(many <= _MOST * few for few, many in measured.values()):
                break
        for kind, (few, many) in measured.items():
            sys.stdout.write(f"{shape:32} {kind:10} {few * 1e6:7.2f} µs {many * 1e6:7.2f} µs {many / few:7.2f}\n")
            ratios.append(many / few)
    return [Result("deciding, 10,000 grants ÷ 10, dearest of 15 rows", [max(ratios)], at_most(_MOST))]


if __name__ == "__main__":
    sys.exit(int(deciding()[0].verdict != "met"))
