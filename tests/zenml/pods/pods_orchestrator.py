"""A remote orchestrator for tests: the submitting process starts an orchestrator pod, and that one a pod for each step.

Runs in ZenML's environment. What it asks for is done by support.pods, in the tests' process.
"""

import json
import os
import socket
from typing import Any
from uuid import uuid4

from zenml.entrypoints.step_entrypoint_configuration import StepEntrypointConfiguration
from zenml.orchestrators import BaseOrchestrator, BaseOrchestratorConfig, BaseOrchestratorFlavor

RUN_ID = "PODS_RUN_ID"


def run_pod(name: str, script: str, arguments: list[str], environment: dict[str, str]) -> int:
    """Starts a pod and waits for its exit code."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(os.environ["PODS_SOCKET"])
        with asking.makefile("rw") as stream:
            wanted = {"name": name, "script": script, "arguments": arguments, "environment": environment}
            stream.write(json.dumps(wanted) + "\n")
            stream.flush()
            return int(json.loads(stream.readline()))


class StepInPod(StepEntrypointConfiguration):
    """As ZenML's own; the code is there already."""

    def prepare_code_environment(self) -> None:
        """Stays where it is: ZenML's own goes to /app."""


class PodsOrchestrator(BaseOrchestrator):
    """Starts the orchestrator pod."""

    def get_orchestrator_run_id(self) -> str:
        return os.environ[RUN_ID]

    def submit_pipeline(
        self,
        snapshot: Any,
        stack: Any,
        base_environment: dict[str, str],
        step_environments: dict[str, dict[str, str]],
        placeholder_run: Any = None,
    ) -> None:
        base = {**base_environment, RUN_ID: str(uuid4())}
        steps = {name: {**environment, RUN_ID: base[RUN_ID]} for name, environment in step_environments.items()}
        arguments = [str(snapshot.id), json.dumps(steps), str(placeholder_run.id)]
        if code := run_pod("orchestrator", "orchestrate.py", arguments, base):
            raise RuntimeError(f"the orchestrator pod ended with {code}")


class PodsOrchestratorFlavor(BaseOrchestratorFlavor):
    """`zenml orchestrator register … -f pods`."""

    @property
    def name(self) -> str:
        return "pods"

    @property
    def config_class(self) -> type[BaseOrchestratorConfig]:
        return BaseOrchestratorConfig

    @property
    def implementation_class(self) -> type[BaseOrchestrator]:
        return PodsOrchestrator
