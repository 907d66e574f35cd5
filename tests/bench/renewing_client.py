"""One client of Blob Storage with tokens that renew themselves, as docs/adapters.md has it.

It runs apart, with .venv-clients: `python -I renewing_client.py work CLIENT SECONDS` works for a while with the objects
it made at the start, and prints, as JSON, how often each operation was done, and what failed. `… letters CLIENT` tries
each operation with ever more permissions, and prints the smallest sets of them that it was done with.
"""

import asyncio
import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import valetkey
import valetkey.azure

Steps = dict[str, Callable[[str], Any]]
Maker = Callable[[Sequence[str]], Steps]
CONTAINER = os.environ["CONTAINER"]
TTL = timedelta(seconds=float(os.environ["TTL"]))
PACE = float(os.environ.get("PACE", "0.05"))
LETTERS = {"read": "r", "add": "a", "create": "c", "write": "w", "delete": "d", "list": "l"}
# Above what each client sends in one piece here.
LARGE = os.urandom(3 * 1024 * 1024)
# What has to be there before an operation is tried.
NEEDS: dict[str, Sequence[str]] = {
    "overwrite": ("write",),
    "read": ("write",),
    "read in ranges": ("write in blocks",),
    "copy": ("write",),
    "move": ("write",),
    "list": ("write",),
    "delete": ("write",),
    "delete many": ("write", "write in blocks"),
}


def same(found: Any, expected: Any) -> None:
    """Fails where they differ."""
    if found != expected:
        raise AssertionError(f"found {found!r:.60}, expected {expected!r:.60}")


def source(permissions: Sequence[str]) -> valetkey.TokenSource:
    return valetkey.TokenSource(f"az://{CONTAINER}", permissions, ttl=TTL)


def azure_storage_blob(permissions: Sequence[str]) -> Steps:
    """The SDK, with 1 MiB as its block and four of them at a time."""
    from azure.storage.blob import ContainerClient

    tokens = source(permissions)
    account_url = tokens.current().url.rpartition("/")[0]
    sizes = ("max_block_size", "max_single_put_size", "max_single_get_size", "max_chunk_get_size")
    container = ContainerClient(
        account_url, CONTAINER, **valetkey.azure.options(tokens), **dict.fromkeys(sizes, 1 << 20)
    )

    def copy(folder: str) -> None:
        target = container.get_blob_client(f"{folder}/copy")
        begun = target.start_copy_from_url(container.get_blob_client(f"{folder}/small").url)
        same(begun["copy_status"], "success")

    return {
        "write": lambda folder: container.upload_blob(f"{folder}/small", b"weights"),
        "write in blocks": lambda folder: container.upload_blob(f"{folder}/large", LARGE, max_concurrency=4),
        "overwrite": lambda folder: container.upload_blob(f"{folder}/small", b"weights", overwrite=True),
        "read": lambda folder: same(container.download_blob(f"{folder}/small").readall(), b"weights"),
        "read in ranges": lambda folder: same(
            container.download_blob(f"{folder}/large", max_concurrency=4).readall(), LARGE
        ),
        "copy": copy,
        "list": lambda folder: same(f"{folder}/small" in container.list_blob_names(name_starts_with=folder), True),
        "delete": lambda folder: container.delete_blob(f"{folder}/small"),
    }


def azure_storage_blob_aio(permissions: Sequence[str]) -> Steps:
    """The SDK's asynchronous half, in a loop of its own for each operation."""
    from azure.storage.blob.aio import ContainerClient

    from valetkey.azure import aio

    tokens = source(permissions)
    account_url = tokens.current().url.rpartition("/")[0]

    def step(work: Callable[[Any, str], Any]) -> Callable[[str], None]:
        async def done(folder: str) -> None:
            options = aio.options(valetkey.AsyncTokenSource.of(tokens))
            sizes = dict.fromkeys(("max_block_size", "max_single_put_size"), 1 << 20)
            async with ContainerClient(account_url, CONTAINER, **options, **sizes) as container:
                await work(container, folder)

        return lambda folder: asyncio.run(done(folder))

    async def read(container: Any, folder: str) -> None:
        same(await (await container.download_blob(f"{folder}/small")).readall(), b"weights")

    async def listed(container: Any, folder: str) -> None:
        same(
            [blob.name async for blob in container.list_blobs(name_starts_with=f"{folder}/small")], [f"{folder}/small"]
        )

    return {
        "write": step(lambda container, folder: container.upload_blob(f"{folder}/small", b"weights")),
        "write in blocks": step(lambda container, folder: container.upload_blob(f"{folder}/large", LARGE)),
        "read": step(read),
        "list": step(listed),
        "delete": step(lambda container, folder: container.delete_blob(f"{folder}/small")),
    }


def files(permissions: Sequence[str]) -> Any:
    """Returns our file system."""
    import valetkey.fsspec

    made = valetkey.fsspec.filesystem(
        f"az://{CONTAINER}", permissions=permissions, ttl=TTL, blocksize=1 << 20, use_listings_cache=False
    )
    made.invalidate_cache()
    return made


def fsspec(permissions: Sequence[str]) -> Steps:
    """The file system itself."""
    fs = files(permissions)

    def opened(name: str, data: bytes) -> None:
        with fs.open(f"{CONTAINER}/{name}", "wb") as file:
            file.write(data)

    return {
        "write": lambda folder: fs.pipe_file(f"{CONTAINER}/{folder}/small", b"weights"),
        "write in blocks": lambda folder: opened(f"{folder}/large", LARGE),
        "read": lambda folder: same(fs.cat_file(f"{CONTAINER}/{folder}/small"), b"weights"),
        "read in ranges": lambda folder: same(fs.open(f"{CONTAINER}/{folder}/large", "rb").read(), LARGE),
        "copy": lambda folder: fs.cp_file(f"{CONTAINER}/{folder}/small", f"{CONTAINER}/{folder}/copy"),
        "list": lambda folder: same(fs.ls(f"{CONTAINER}/{folder}", detail=False)[-1], f"{CONTAINER}/{folder}/small"),
        "move": lambda folder: fs.mv(f"{CONTAINER}/{folder}/small", f"{CONTAINER}/{folder}/moved"),
        "delete many": lambda folder: fs.rm(f"{CONTAINER}/{folder}", recursive=True),
    }


def pandas(permissions: Sequence[str]) -> Steps:
    """Parquet and CSV by URL."""
    import pandas as pd

    options = {"permissions": ",".join(permissions), "ttl": TTL.total_seconds()}
    frame = pd.DataFrame({"step": [1, 2, 3]})
    at = f"valetkey://{CONTAINER}"
    return {
        "write": lambda folder: frame.to_parquet(f"{at}/{folder}/small.parquet", storage_options=options),
        "read": lambda folder: same(
            pd.read_parquet(f"{at}/{folder}/small.parquet", storage_options=options).step.tolist(), [1, 2, 3]
        ),
    }


def pyarrow(permissions: Sequence[str]) -> Steps:
    """Over fsspec."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow.fs import FileSelector, FSSpecHandler, PyFileSystem

    arrow = PyFileSystem(FSSpecHandler(files(permissions)))
    small, large = pa.table({"step": [1, 2, 3]}), pa.table({"bytes": [LARGE]})
    return {
        "write": lambda folder: pq.write_table(small, f"{CONTAINER}/{folder}/small", filesystem=arrow),
        "write in blocks": lambda folder: pq.write_table(large, f"{CONTAINER}/{folder}/large", filesystem=arrow),
        "read": lambda folder: same(pq.read_table(f"{CONTAINER}/{folder}/small", filesystem=arrow), small),
        "read in ranges": lambda folder: same(pq.read_table(f"{CONTAINER}/{folder}/large", filesystem=arrow), large),
        "copy": lambda folder: arrow.copy_file(f"{CONTAINER}/{folder}/small", f"{CONTAINER}/{folder}/copy"),
        "list": lambda folder: same(arrow.get_file_info(FileSelector(f"{CONTAINER}/{folder}"))[-1].base_name, "small"),
        "delete": lambda folder: arrow.delete_file(f"{CONTAINER}/{folder}/small"),
    }


def dask(permissions: Sequence[str]) -> Steps:
    """A frame of two partitions."""
    import dask.dataframe as dd
    import pandas as pd

    options = {"permissions": ",".join(permissions), "ttl": TTL.total_seconds()}
    frame = dd.from_pandas(pd.DataFrame({"step": [1, 2, 3, 4]}), npartitions=2)
    at = f"valetkey://{CONTAINER}"
    return {
        "write": lambda folder: frame.to_parquet(f"{at}/{folder}/frame", storage_options=options),
        "read": lambda folder: same(
            int(dd.read_parquet(f"{at}/{folder}/frame", storage_options=options).step.sum().compute()), 10
        ),
    }


def duckdb(permissions: Sequence[str]) -> Steps:
    """DuckDB with the file system registered."""
    import duckdb as db

    connection = db.connect()
    connection.register_filesystem(files(permissions))
    at = f"valetkey://{CONTAINER}"
    return {
        "write": lambda folder: connection.sql(f"COPY (SELECT 7 AS a) TO '{at}/{folder}/small.parquet'"),
        "read": lambda folder: same(
            connection.read_parquet(f"{at}/{folder}/small.parquet").fetchall(),
            [(7,)],
        ),
    }


def pyiceberg(permissions: Sequence[str]) -> Steps:
    """Its FileIO, with a credential of ours."""
    from pyiceberg.io.fsspec import FsspecFileIO

    tokens = source(permissions)
    token = tokens.current()
    account = token.resource.account
    io = FsspecFileIO(
        {
            "adls.account-name": account,
            "adls.credential": valetkey.azure.SasCredential(tokens),
            "adls.account-host": token.url.removeprefix("https://").rpartition("/")[0],
        }
    )
    at = f"abfss://{CONTAINER}@{account}.dfs.core.windows.net"

    def write(folder: str) -> None:
        with io.new_output(f"{at}/{folder}/small").create(overwrite=True) as file:
            file.write(b"weights")

    def read(folder: str) -> None:
        with io.new_input(f"{at}/{folder}/small").open() as file:
            same(file.read(), b"weights")

    return {"write": write, "read": read, "delete": lambda folder: io.delete(f"{at}/{folder}/small")}


def obstore(permissions: Sequence[str]) -> Steps:
    """object_store from Python."""
    import obstore as obs

    import valetkey.obstore

    store = valetkey.obstore.store(source(permissions))
    return {
        "write": lambda folder: obs.put(store, f"{folder}/small", b"weights"),
        "write in blocks": lambda folder: obs.put(store, f"{folder}/large", LARGE, chunk_size=1 << 20),
        "read": lambda folder: same(bytes(obs.get(store, f"{folder}/small").bytes()), b"weights"),
        "read in ranges": lambda folder: same(
            bytes(obs.get_range(store, f"{folder}/large", start=5, end=1000)), LARGE[5:1000]
        ),
        "copy": lambda folder: obs.copy(store, f"{folder}/small", f"{folder}/copy"),
        "list": lambda folder: same(obs.list(store, folder).collect()[-1]["path"], f"{folder}/small"),
        "delete": lambda folder: obs.delete(store, [f"{folder}/small"]),
    }


def polars(permissions: Sequence[str]) -> Steps:
    """Parquet, by name and by a pattern."""
    import polars as pl

    import valetkey.polars

    options = valetkey.polars.options(source(permissions))
    frame = pl.DataFrame({"step": [1, 2, 3]})
    at = f"az://{CONTAINER}"
    return {
        "write": lambda folder: frame.write_parquet(f"{at}/{folder}/small.parquet", **options),
        "read": lambda folder: same(pl.read_parquet(f"{at}/{folder}/small.parquet", **options).height, 3),
        "list": lambda folder: same(pl.scan_parquet(f"{at}/{folder}/*.parquet", **options).collect().height, 3),
    }


MAKERS: tuple[Maker, ...] = (
    *(azure_storage_blob, azure_storage_blob_aio, fsspec, pandas, pyarrow, dask),
    *(duckdb, pyiceberg, obstore, polars),
)
CLIENTS = {maker.__name__: maker for maker in MAKERS}


def work(client: str, seconds: float) -> Any:
    """Does all that the client can, over and over until the time is up; goes on after what fails.

    Twice at a time: while one waits to try again after a 503, the other one works.
    """
    began, numbers = time.monotonic(), itertools.count()
    done: Counter[str] = Counter()
    failures: list[str] = []

    def worker(_: int) -> None:
        steps = CLIENTS[client](list(LETTERS))
        first = True
        while first or time.monotonic() - began < seconds:
            first, folder = False, f"{client}-{os.getpid()}-{next(numbers)}"
            for name, step in steps.items():
                try:
                    step(folder)
                except Exception as error:  # noqa: BLE001 (whatever a client raises)
                    failures.append(f"{name}: {type(error).__name__}: {error}"[:300])
                done[name] += 1
                time.sleep(PACE)

    with ThreadPoolExecutor(2) as workers:
        list(workers.map(worker, range(2)))
    return {"done": done, "failures": failures}


def letters(client: str) -> Any:
    """Tries each operation with ever more permissions; returns the smallest sets that did."""
    everything = CLIENTS[client](list(LETTERS))
    found: dict[str, list[str]] = {name: [] for name in everything}
    number = itertools.count()
    for size in range(1, len(LETTERS) + 1):
        for words in itertools.combinations(LETTERS, size):
            chosen = "".join(LETTERS[word] for word in words)
            open_ones = [name for name, sets in found.items() if not any(set(each) <= set(chosen) for each in sets)]
            # What needs more than three letters needs something else.
            if not open_ones or size > 4:
                continue
            steps = CLIENTS[client](words)
            for name in open_ones:
                folder = f"letters-{client}-{os.getpid()}-{next(number)}"
                for before in NEEDS.get(name, ()):
                    everything[before](folder)
                try:
                    steps[name](folder)
                except Exception as error:  # noqa: BLE001 (a refusal, as each client tells it)
                    if os.environ.get("SHOW"):
                        sys.stderr.write(f"{name} {chosen}: {error!r:.200}\n")
                else:
                    found[name].append(chosen)
    return found


def main(mode: str, client: str, *rest: str) -> None:
    """Prints what came of it."""
    answer = letters(client) if mode == "letters" else work(client, float(rest[0]))
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    # Some end by a signal now and then as the interpreter ends, which is not what is looked at.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
