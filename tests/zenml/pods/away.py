"""Registers the store `far` by the words of its command line, and uses it at once; says how each ended."""

import sys

from click.testing import CliRunner
from zenml.client import Client
from zenml.enums import StackComponentType
from zenml.stack import StackComponent
from zenml_cli import cli

print("registered", CliRunner().invoke(cli, sys.argv[1:]).exit_code)
store = StackComponent.from_model(Client().get_stack_component(StackComponentType.ARTIFACT_STORE, "far"))
try:
    print("exists", store.exists(f"{store.path}/x"))
except Exception as error:  # noqa: BLE001 (it is what the test reads)
    print("exists", f"{type(error).__name__}: {error}")
