"""An orchestrator pod: starts a pod for each step, and logs to the artifact store, as Kubernetes' own of ZenML does."""

import json
import sys

from pods_orchestrator import StepInPod, run_pod
from zenml.client import Client
from zenml.utils.logging_utils import setup_logging_context

snapshot = Client().get_snapshot(sys.argv[1])
environments = json.loads(sys.argv[2])
source = f"{StepInPod.__module__}.{StepInPod.__name__}"
failed = []
run = Client().get_pipeline_run(sys.argv[3])
with setup_logging_context(source="orchestrator") as logs:
    logs.update(pipeline_run=run)
    logs.attach(run)
    print("the orchestrator pod has started")
    for name, step in snapshot.step_configurations.items():
        if set(step.spec.upstream_steps) & set(failed):
            failed.append(name)
            continue
        arguments = StepInPod.get_entrypoint_arguments(step_name=name, snapshot_id=snapshot.id)
        if run_pod(name, "step.py", [source, *map(str, arguments)], environments[name]):
            failed.append(name)
    print(f"failed: {failed}")
sys.exit(bool(failed))
