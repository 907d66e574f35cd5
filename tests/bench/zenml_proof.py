"""One pipeline on ZenML's own Azure artifact store and on ours, side by side, and then one with many artifacts.

    make zenml-proof

runs the first on both in turns, each process forked from one that has ZenML loaded, against the same storage behind
one proxy; prints the table of docs/zenml.md. Then a step saves 200 artifacts on each, on ours with tokens of 8 s too.
Fails where a step on our store holds a secret that lasts, where storage refuses it a request, and where an artifact is
missing.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.clients_table import say
from support.e2e import DEMO, soon
from support.leaks import found_in
from support.pods import SCRIPTS, Node, running_node
from support.processes import held_in_memory
from support.warm import WarmCommand
from support.zenml import ZenML, warm_zenml
from support.zenml_stack import FLAVOR, STORE, ZenMLStack, register_stack, zenml_stack

ACCOUNT = "demomlstorage"
PATIENCE = 900.0
OURS, THEIRS = "valetkey", "azure"
FORBIDDEN = (401, 403)


@dataclass(frozen=True)
class Way:
    """One artifact store, as a user has registered it. `identity` is what a pod of it has in its environment."""

    name: str
    user: ZenML
    identity: Callable[[str], Mapping[str, str]]


@dataclass(frozen=True)
class Run:
    """What one run took, in seconds and in requests; `held` is what was found in the memory of its step."""

    wall: float
    processor: float
    requests: int
    tokens: int
    refused: int
    held: frozenset[str]


def warmed(live: ZenMLStack) -> WarmCommand:
    """Returns what processes are forked from. It trusts the storage from its start: ZenML's own store reads no file."""
    modules = ("zenml.integrations.azure.artifact_stores", "zenml.integrations.azure.flavors")
    return warm_zenml(*modules, SSL_CERT_FILE=str(live.stack.ca_file))


def ours(live: ZenMLStack, ttl: str = "1h") -> Way:
    """Our store, with a grant for each of the pods, whose tokens live for so long."""
    for account in ("submit", "orchestrator", "steps"):
        live.grant(f"{account}-{ttl}", "--role", "step-operator", ttl=ttl)

    def identity(pod: str) -> dict[str, str]:
        account = pod if pod in ("submit", "orchestrator") else "steps"
        return live.identity(f"{account}-{ttl}") | live.way

    user = live.new_user(PYTHONPATH=str(SCRIPTS))
    # Without `storage_ca_file`, as in front of Azure.
    register_stack(
        user,
        ("artifact-store", "flavor", "register", FLAVOR),
        ("artifact-store", "register", "az_store", "-f", "valetkey", f"--path={STORE}"),
    )
    return Way(OURS, user, identity)


def theirs(live: ZenMLStack) -> Way:
    """ZenML's own store, by a secret with a connection string: of its ways the one that can name other hosts."""
    # In processes of its own: what those are forked from keeps the words of the command lines that it has read.
    live.warm = warmed(live)
    key = live.stack.azurite.accounts[ACCOUNT].reveal()
    connection = (
        f"DefaultEndpointsProtocol=https;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={live.proxy.url}/{ACCOUNT}"
    )
    user = live.new_user(PYTHONPATH=str(SCRIPTS))
    register_stack(
        user,
        ("secret", "create", "az_secret", f"--connection_string={connection}"),
        (
            *("artifact-store", "register", "az_store", "-f", "azure", f"--path={STORE}"),
            "--authentication_secret=az_secret",
        ),
    )
    return Way(THEIRS, user, lambda _pod: {})


def run(
    live: ZenMLStack, way: Way, directory: Path, script: str = "compared.py", *, search: bool = False, **given: str
) -> Run:
    """Runs a pipeline, each part in a process of its own, which has `given` in its environment.

    With `search`, looks into the memory of the step `work`.
    """
    held: set[str] = set()
    seen = len(live.recording.requests)
    with running_node(way.user, directory, lambda pod: {**way.identity(pod), **given}) as node:
        if search:
            node.signal("work.hold")
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        submitting = node.start("submit", script, [], {})
        if search:
            done = submitting.process.poll
            soon(lambda: (node.signals / "work.started").exists() or done() is not None, PATIENCE)
            held = looked_into(live, node, seen)
            (node.signals / "work.hold").unlink()
        code = submitting.process.wait(PATIENCE)
        wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        assert code == 0, node.logs()
        environments = json.dumps([dict(pod.environment) for pod in node.pods])
        held |= {f"{name} (environment)" for name in found_in(environments, live.secrets())}
    requests = live.recording.requests[seen:]
    return Run(
        wall=wall,
        processor=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        requests=len(requests),
        tokens=len({request.token for request in requests} - {""}),
        refused=len([request for request in requests if request.status in FORBIDDEN]),
        held=frozenset(held),
    )


def looked_into(live: ZenMLStack, node: Node, seen: int) -> set[str]:
    """Returns which secrets the step `work` holds, of those that last and of the tokens that were used."""
    needles = {text.encode(): name for name, text in live.secrets().items()}
    tokens = {request.token for request in live.recording.requests[seen:]} - {""}
    needles |= dict.fromkeys(live.recording.forms(tokens), "token")
    return {needles[held] for held in held_in_memory(node.pod("work").process.pid, needles)}


def compare(live: ZenMLStack, folder: Path, rounds: int) -> None:
    """Prints the table."""
    ways = (ours(live), theirs(live))
    first = {way.name: run(live, way, folder / f"{way.name}-search", search=True) for way in ways}
    runs: dict[str, list[Run]] = {way.name: [] for way in ways}
    for number in range(rounds):
        for way in ways if number % 2 else ways[::-1]:
            runs[way.name].append(run(live, way, folder / f"{way.name}-{number}"))
    kept = {way.name: sorted(found_in(database(way.user), live.secrets())) for way in ways}

    def row(what: str, of: Callable[[str], object]) -> None:
        say(f"| {what} | {of(THEIRS)} | {of(OURS)} |")

    def median(name: str, of: Callable[[Run], float]) -> float:
        return statistics.median(of(each) for each in runs[name])

    say(f"Medians of {rounds} runs of each, in turns; five processes a run.\n")
    row("", lambda name: f"`-f {name}`")
    say("| --- | --- | --- |")
    row("found in the memory of a step", lambda name: ", ".join(sorted(first[name].held)) or "nothing")
    row("found in ZenML's database", lambda name: ", ".join(kept[name]) or "nothing")
    row("requests to storage", lambda name: f"{median(name, lambda each: each.requests):.0f}")
    row("refused", lambda name: sum(each.refused for each in runs[name]))
    row("different tokens", lambda name: f"{median(name, lambda each: each.tokens):.0f}")
    row("seconds", lambda name: f"{median(name, lambda each: each.wall):.1f}")
    row("seconds of a processor, of all processes", lambda name: f"{median(name, lambda each: each.processor):.1f}")
    for what, of in (("time", lambda each: each.wall), ("processor", lambda each: each.processor)):
        say(f"{what}: ours is {median(OURS, of) / median(THEIRS, of):.3f} of theirs")
    say(f"all: { {name: [f'{each.wall:.1f}' for each in of] for name, of in runs.items()} }\n")
    assert first[OURS].held == {"token"}, first
    assert not kept[OURS], kept
    assert not any(each.refused for each in runs[OURS]), runs


def many(live: ZenMLStack, folder: Path, artifacts: int) -> None:
    """Prints what many artifacts in one step cost on each store, saved by one step and loaded by the next."""
    ways = {THEIRS: theirs(live), OURS: ours(live), f"{OURS}, tokens of 8 s": ours(live, "8s")}
    say(f"{artifacts} artifacts, saved by one step and loaded by the next:\n")
    say("| | seconds | of a processor | requests to storage | tokens | refused |")
    say("| --- | --- | --- | --- | --- | --- |")
    for number, (name, way) in enumerate(ways.items()):
        each = run(live, way, folder / f"many-{number}", "many_artifacts.py", MANY_ARTIFACTS=str(artifacts))
        row = (f"{each.wall:.0f}", f"{each.processor:.0f}", each.requests, each.tokens, each.refused)
        say(f"| {name} | {' | '.join(map(str, row))} |")
        assert name == THEIRS or not each.refused, each
    leases = [len(live.leases(f"{account}-8s")) for account in ("submit", "orchestrator", "steps")]
    say(f"\nin the ledger, of 8 s: {sum(leases)} tokens, of these {leases[-1]} of the steps")


def database(user: ZenML) -> bytes:
    """Returns ZenML's database as it lies on the disk."""
    return b"".join(path.read_bytes() for path in user.directory.rglob("zenml.db*"))


def main() -> None:
    """Runs the proof."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often the pipeline runs on each store")
    parser.add_argument("--artifacts", type=int, default=200, help="how many artifacts a step saves in the end")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zenml-proof-") as name, zenml_stack(Path(name)) as live:
        live.warm = warmed(live)
        say(f"Artifacts go to {DEMO}.\n")
        if given.rounds:
            compare(live, Path(name), given.rounds)
        if given.artifacts:
            many(live, Path(name), given.artifacts)


if __name__ == "__main__":
    main()
