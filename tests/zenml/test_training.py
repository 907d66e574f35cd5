"""The mission's own example: a pipeline of ZenML on real parts, whose processes hold an identity and no secret.

A process of each submits, orchestrates, runs each step, and loads the result; the training is longer than three of
its tokens live.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from support.cli_runner import Ran
from support.e2e import CONNECTOR, soon
from support.leaks import found_in
from support.pods import SCRIPTS, Node, running_node
from support.processes import held_in_memory
from support.zenml import ZenML
from support.zenml_stack import ZenMLStack

pytestmark = [pytest.mark.xdist_group("zenml"), pytest.mark.unmeasured, pytest.mark.timeout(1200)]
PATIENCE = 400.0
ACCOUNTS = {"orchestrator": "orchestrator", "tune": "tuner", "submit": "submitter"}
FORBIDDEN = (401, 403)
READS = {"read", "list"}
ROWS = 1000
# A quarter of a life is left at the latest when a token is renewed: 3 s, which a busy machine may need for the answer.
# Tokens of 8 s are for the end of make zenml-proof.
TRAINING_TTL = "12s"


@dataclass
class Run:
    """What is left of the pipeline's run. `in_memory` is what was found in a step's memory of what was looked for."""

    submitted: int
    node: Node
    loaded: Ran
    written: Ran
    in_memory: set[str]
    began: float


def account(pod: str) -> str:
    """Returns the service account of a pod; most steps have the same."""
    return ACCOUNTS.get(pod, "fitter")


@pytest.fixture(scope="module")
def user(live: ZenMLStack) -> ZenML:
    return live.user()


@pytest.fixture(scope="module")
def run(live: ZenMLStack, user: ZenML, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs the pipeline: a rotation in the middle of one step, a restart of the broker in the middle of the next."""
    live.grant("submitter", "--role", "step-operator")
    live.grant("orchestrator", "--role", "orchestrator")
    live.grant("fitter", "--role", "step-operator", ttl=TRAINING_TTL)
    live.grant("tuner", "--role", "step-operator", ttl="1m")
    live.grant("deployer", "--role", "deployer")
    second, began = live.second_secret(), time.monotonic()
    directory = tmp_path_factory.mktemp("node")

    def given(pod: str) -> dict[str, str]:
        """A component's --env reaches the steps only (ZenML 0.98.0); the orchestrator's pod has its own."""
        return live.identity(account(pod)) | (live.way if pod == "orchestrator" else {})

    with running_node(user, directory, given) as node:
        submitting = node.start("submit", "training.py", [], live.way)

        def reached(signal: str) -> None:
            there = soon(lambda: (node.signals / signal).exists() or submitting.process.poll() is not None, PATIENCE)
            assert there, node.logs()
            assert submitting.process.poll() is None, node.logs()

        def tokens_of(step: str) -> set[str]:
            return {request.token for request in live.recording.data() if f"/checkpoints/{step}" in request.path}

        reached("train.started")
        live.admin.done("service-connector", "rotate", CONNECTOR, "--client-secret", f"@{second}")
        in_memory: set[str] = set()

        def searched() -> bool:
            needles = {text.encode(): name for name, text in live.secrets().items()}
            needles |= dict.fromkeys(live.recording.forms(tokens_of("train") - {""}), "token")
            in_memory.update(needles[held] for held in held_in_memory(node.pod("train").process.pid, needles))
            return "token" in in_memory

        # More than once: a token may be replaced while memory is read.
        soon(searched, PATIENCE, pause=1)
        assert soon(lambda: len(tokens_of("train")) > 3 or submitting.process.poll() is not None, PATIENCE), node.logs()
        node.signal("train.end")
        reached("tune.started")
        before = live.recording.tokens()
        live.stop_broker()
        live.start_broker()
        assert soon(lambda: tokens_of("tune") - before or submitting.process.poll() is not None, PATIENCE), node.logs()
        node.signal("tune.end")
        submitted = submitting.process.wait(PATIENCE)
        deployer = user.having(**live.way, **live.identity("deployer"))
        loaded = deployer.run(SCRIPTS / "load.py", "rows")
        written = deployer.run(SCRIPTS / "load.py", "rows", "deployer.txt")
        yield Run(submitted, node, loaded, written, in_memory, began)


def test_the_pipeline_succeeds(run: Run) -> None:
    """Across several tokens, a rotation and a restart of the broker, each in the middle of a step."""
    assert run.submitted == 0, run.node.logs()
    assert "loaded: " in run.loaded.out, run.loaded
    parts = sum(run.node.log(step).count(" wrote part ") for step in ("train", "tune"))
    assert f"loaded: {parts * ROWS}" in run.loaded.out


def test_each_part_is_a_process_of_its_own(run: Run) -> None:
    """And has an identity of its own."""
    names = ["submit", "orchestrator", "prepare", "train", "tune", "evaluate"]
    assert [pod.name for pod in run.node.pods] == names
    assert len({pod.process.pid for pod in run.node.pods}) == len(names)


def test_each_request_for_data_carries_one_token_that_counts(live: ZenMLStack, run: Run) -> None:
    """No signature beside another, no request without one; only what came too late is refused, and goes out again."""
    requests = live.recording.data(run.began)
    assert {request.tokens for request in requests} == {1}
    done = {(request.method, request.path, request.token) for request in requests if request.status not in FORBIDDEN}
    for refused in (request for request in requests if request.status in FORBIDDEN):
        again = {token for method, path, token in done if (method, path) == (refused.method, refused.path)}
        assert refused.late, refused
        assert again - {refused.token}, refused
    assert [request for request in requests if request.status >= 500] == []
    written = [r for r in requests if "/checkpoints/train" in r.path and r.method == "PUT"]
    assert len({request.token for request in written}) >= 3


def test_the_ledger_has_each_principal(live: ZenMLStack, run: Run) -> None:
    """Who had which token is on record, and only the deployer never had one that writes."""
    everybody = ("submitter", "orchestrator", "fitter", "tuner", "deployer")
    had = {name: {word for lease in live.leases(name) for word in lease["permissions"]} for name in everybody}
    assert had == {name: READS | ({"write"} if name != "deployer" else set()) for name in everybody}


def test_a_deployer_cannot_write(run: Run) -> None:
    """It is told so by the broker, in words that say what to do."""
    assert run.written.code != 0
    assert "write" in run.written.err.splitlines()[-1], run.written
    assert "written" not in run.written.out.splitlines()


def test_no_process_holds_the_secret(live: ZenMLStack, run: Run) -> None:
    """The training step's memory, searched while it ran, has its own token, and nothing of the service principal's."""
    assert run.in_memory == {"token"}


def test_secrets_are_nowhere(live: ZenMLStack, user: ZenML, run: Run) -> None:
    """In no environment, in none of ZenML's files, in no log, in no artifact."""
    looked = {pod.name: json.dumps(dict(pod.environment)).encode() for pod in run.node.pods}
    for folder in (user.directory, run.node.directory):
        looked |= {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    looked |= {"blobs": live.blobs()}
    found = {(name, what) for name, content in looked.items() for what in found_in(content, live.secrets())}
    signatures = live.recording.forms()
    found |= {(name, "a signature") for name, content in looked.items() if any(text in content for text in signatures)}
    assert not found
    # They are the files that were in use.
    assert any(name.endswith("zenml.db") and b"evaluate" in content for name, content in looked.items()), sorted(looked)


def test_images_get_the_client(live: ZenMLStack, user: ZenML) -> None:
    """What ZenML installs into the images that it builds for this stack."""
    said = user.having(**live.way).run(SCRIPTS / "requirements.py")
    assert "valetkey[zenml]>=" in said.out, said
