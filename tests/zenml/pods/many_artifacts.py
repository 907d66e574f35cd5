"""A pipeline for any artifact store: one step saves many artifacts, and the next one loads each by its name."""

import os
import sys
from typing import Annotated

from zenml import load_artifact, pipeline, save_artifact, step

COUNT = int(os.environ["MANY_ARTIFACTS"])


@step(enable_cache=False)
def save() -> Annotated[int, "saved"]:
    for number in range(COUNT):
        save_artifact({"number": number}, name=f"many_{number}")
    return COUNT


@step(enable_cache=False)
def load(saved: int) -> Annotated[int, "loaded"]:
    assert [load_artifact(f"many_{number}")["number"] for number in range(saved)] == list(range(COUNT))
    return saved


@pipeline(enable_cache=False)
def many_artifacts() -> None:
    load(save())


if __name__ == "__main__":
    many_artifacts()
    sys.exit(0)
