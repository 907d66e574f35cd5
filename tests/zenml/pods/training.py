"""A pipeline as people write them: it trains for a while and writes all along, then looks at what came of it."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
from zenml.client import Client
from zenml.io import fileio

from zenml import pipeline, step

SIGNALS = Path(os.environ["PODS_SIGNALS"])
ROWS = 1000


def _train(what: str) -> dict[str, object]:
    """Writes tables until it is told to end; returns where."""
    folder = f"{Client().active_stack.artifact_store.path}/checkpoints/{what} 1 --best"
    parts = 0
    while not (SIGNALS / f"{what}.end").exists():
        fileio.makedirs(f"{folder}/{parts}")
        with fileio.open(f"{folder}/{parts}/rows #1.parquet", "wb") as file:
            pq.write_table(pa.table({"row": list(range(ROWS))}), file)
        print(f"{what} wrote part {parts}")
        (SIGNALS / f"{what}.started").touch()
        parts += 1
        time.sleep(1)
    return {"folder": folder, "parts": parts}


@step(enable_cache=False)
def prepare() -> Annotated[dict, "numbers"]:
    return {"numbers": list(range(10))}


@step(enable_cache=False)
def train(numbers: dict) -> Annotated[dict, "model"]:
    return {**_train("train"), "of": sum(numbers["numbers"])}


@step(enable_cache=False)
def tune(model: dict) -> Annotated[dict, "tuned"]:
    return {**_train("tune"), "of": model}


@step(enable_cache=False)
def evaluate(tuned: dict) -> Annotated[int, "rows"]:
    rows = 0
    for result in (tuned, tuned["of"]):
        parts = fileio.listdir(result["folder"])
        assert sorted(map(int, parts)) == list(range(result["parts"])), parts
        for part in parts:
            with fileio.open(f"{result['folder']}/{part}/rows #1.parquet", "rb") as file:
                rows += pq.read_table(file).num_rows
    return rows


@pipeline(enable_cache=False)
def training() -> None:
    evaluate(tune(train(prepare())))


if __name__ == "__main__":
    training()
    sys.exit(0)
