"""Steps that fail: people see why, whatever else goes wrong then."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from support.e2e import soon
from support.pods import Node, running_node
from support.zenml import ZenML
from support.zenml_stack import ZenMLStack

pytestmark = [pytest.mark.xdist_group("zenml"), pytest.mark.unmeasured, pytest.mark.timeout(1200)]
PATIENCE = 400.0


@dataclass
class Failed:
    """What is left of the run, and the blobs of it."""

    submitted: int
    node: Node
    blobs: list[str]


@pytest.fixture(scope="module")
def user(live: ZenMLStack) -> ZenML:
    return live.user()


@pytest.fixture(scope="module")
def failed(live: ZenMLStack, user: ZenML, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failed]:
    """Runs a pipeline of which every step fails, each with an identity of its own."""
    for account in ("submit", "orchestrator", "half"):
        live.grant(account, "--role", "step-operator")
    live.grant("tidy", "--role", "step-operator-with-delete")
    removed = live.grant("deprived", "--role", "step-operator", ttl="12s")
    live.grant("reader", "--role", "deployer")
    with running_node(user, tmp_path_factory.mktemp("node"), live.identity) as node:
        submitting = node.start("submit", "failing.py", [], live.way)
        done = submitting.process.poll
        assert soon(lambda: (node.signals / "deprived.started").exists() or done() is not None, PATIENCE), node.logs()
        live.admin.done("grant", "delete", removed, "--yes")
        yield Failed(submitting.process.wait(PATIENCE), node, live.names("zen/"))


def test_the_steps_own_error_is_shown(failed: Failed) -> None:
    """What cannot be removed after it, for want of delete, is one warning."""
    assert failed.submitted != 0
    log = failed.node.log("half")
    assert log.rstrip().endswith("ValueError: the step's own error"), log
    assert log.count("stays in the artifact store") == 1, log
    assert "permission delete" in log
    assert any("/half/first/" in name for name in failed.blobs)


def test_what_a_failed_step_wrote_is_removed_where_that_is_granted(failed: Failed) -> None:
    """And its error is shown all the same."""
    log = failed.node.log("tidy")
    assert log.rstrip().endswith("ValueError: the step's own error"), log
    assert "stays in the artifact store" not in log
    assert not any("/tidy/first/" in name for name in failed.blobs)


def test_a_step_ends_with_our_message_when_its_grant_is_removed(live: ZenMLStack, failed: Failed) -> None:
    """Within the life of a token, and naming who lost it; adlfs puts a few words of its own before."""
    log = failed.node.log("deprived")
    last = log.rstrip().splitlines()[-1]
    assert f"no grant lets {live.principal('deprived')} use" in last, log


def test_a_step_without_write_is_told_so(live: ZenMLStack, failed: Failed) -> None:
    """By the broker, which names the permission and whom to ask."""
    last = failed.node.log("reader").rstrip().splitlines()[-1]
    assert "PermissionDeniedError" in last, failed.node.log("reader")
    assert live.principal("reader") in last
    assert "write" in last
