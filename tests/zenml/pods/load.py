"""A model deployer: loads what a pipeline has made, from outside of it; and tries to write."""

import sys

from zenml.client import Client
from zenml.io import fileio

artifact = Client().get_artifact_version(sys.argv[1])
print(f"loaded: {artifact.load()}")
if len(sys.argv) > 2:
    store = Client().active_stack.artifact_store
    with fileio.open(f"{store.path}/{sys.argv[2]}", "w") as file:
        file.write("a deployer's")
    print("written")
