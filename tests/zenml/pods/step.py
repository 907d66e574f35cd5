"""A step's pod: runs one step, as ZenML's own entrypoint does."""

import sys

from pods_orchestrator import StepInPod
from zenml.execution.pipeline.utils import prevent_pipeline_execution

with prevent_pipeline_execution():
    StepInPod(arguments=sys.argv[2:]).run()
