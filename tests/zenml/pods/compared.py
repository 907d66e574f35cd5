"""A pipeline for any artifact store: a step between two others writes tables and reads them again."""

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
PARTS = 20


@step(enable_cache=False)
def prepare() -> Annotated[dict, "numbers"]:
    return {"numbers": list(range(10_000))}


@step(enable_cache=False)
def work(numbers: dict) -> Annotated[dict, "tables"]:
    folder = f"{Client().active_stack.artifact_store.path}/compared/{os.getpid()}"
    for part in range(PARTS):
        with fileio.open(f"{folder}/{part}.parquet", "wb") as file:
            pq.write_table(pa.table({"row": numbers["numbers"]}), file)
    (SIGNALS / "work.started").touch()
    # Whoever looks into this process's memory has it wait meanwhile, with its files just written.
    while (SIGNALS / "work.hold").exists():
        time.sleep(0.1)
    return {"folder": folder}


@step(enable_cache=False)
def evaluate(tables: dict) -> Annotated[int, "rows"]:
    rows = 0
    for name in fileio.listdir(tables["folder"]):
        with fileio.open(f"{tables['folder']}/{name}", "rb") as file:
            rows += pq.read_table(file).num_rows
    assert rows == PARTS * 10_000, rows
    return rows


@pipeline(enable_cache=False)
def compared() -> None:
    evaluate(work(prepare()))


if __name__ == "__main__":
    compared()
    sys.exit(0)
