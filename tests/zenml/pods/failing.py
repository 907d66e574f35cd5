"""Steps to which something happens; none waits for another."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from zenml.client import Client
from zenml.io import fileio

from zenml import pipeline, step

SIGNALS = Path(os.environ["PODS_SIGNALS"])


class Unsaveable:
    """What no materializer can write."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise ValueError("the step's own error")


@step(enable_cache=False)
def half() -> tuple[Annotated[dict, "first"], Annotated[Unsaveable, "second"]]:
    return {"good": True}, Unsaveable()


@step(enable_cache=False)
def tidy() -> tuple[Annotated[dict, "first"], Annotated[Unsaveable, "second"]]:
    return {"good": True}, Unsaveable()


@step(enable_cache=False)
def deprived() -> Annotated[dict, "parts"]:
    folder = f"{Client().active_stack.artifact_store.path}/deprived"
    for part in range(100_000):
        with fileio.open(f"{folder}/{part}", "w") as file:
            file.write("more")
        (SIGNALS / "deprived.started").touch()
        time.sleep(1)
    return {}


@step(enable_cache=False)
def reader() -> Annotated[dict, "nothing"]:
    return {"never": "written"}


@pipeline(enable_cache=False)
def failing() -> None:
    half()
    tidy()
    deprived()
    reader()


if __name__ == "__main__":
    failing()
    sys.exit(0)
