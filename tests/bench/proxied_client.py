"""One client of Blob Storage that works through the proxy for a while, with the objects that it made at the start.

It runs apart, with .venv-clients: `python -I proxied_client.py CLIENT SECONDS`, and finds the proxy by ENDPOINT (with
the account), ACCOUNT, CONTAINER and SAS. It prints, as JSON, how often each operation was done, and what failed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

Steps = dict[str, Callable[[str], Any]]
ENDPOINT, ACCOUNT, CONTAINER, SAS = (os.environ[name] for name in ("ENDPOINT", "ACCOUNT", "CONTAINER", "SAS"))
AUTHORITY = ENDPOINT.removeprefix("http://").partition("/")[0]
CONNECTION_STRING = f"BlobEndpoint={ENDPOINT};SharedAccessSignature={SAS}"
# How often the two programs try in all, and for how long the client rests between two operations.
RETRIES, PAUSE = os.environ.get("RETRIES", "1"), float(os.environ.get("PAUSE", "0.05"))
# Above what each client sends in one piece here.
LARGE = os.urandom(3 * 1024 * 1024)


def same(found: Any, expected: Any) -> None:
    """Fails where they differ."""
    if found != expected:
        raise AssertionError(f"found {found!r:.60}, expected {expected!r:.60}")


def azure_storage_blob() -> Steps:
    """The SDK, with 1 MiB as its block and four of them at a time."""
    from azure.storage.blob import ContainerClient

    container = ContainerClient.from_container_url(
        f"{ENDPOINT}/{CONTAINER}?{SAS}",
        max_block_size=1 << 20,
        max_single_put_size=1 << 20,
        max_single_get_size=1 << 20,
        max_chunk_get_size=1 << 20,
    )

    def copy(folder: str) -> None:
        target = container.get_blob_client(f"{folder}/copy")
        target.start_copy_from_url(container.get_blob_client(f"{folder}/small").url)
        while target.get_blob_properties().copy.status == "pending":
            time.sleep(0.05)

    return {
        "write": lambda folder: container.upload_blob(f"{folder}/small", b"weights", overwrite=True),
        "write in blocks": lambda folder: container.upload_blob(
            f"{folder}/large", LARGE, overwrite=True, max_concurrency=4
        ),
        "read": lambda folder: same(container.download_blob(f"{folder}/small").readall(), b"weights"),
        "read in ranges": lambda folder: same(
            container.download_blob(f"{folder}/large", max_concurrency=4).readall(), LARGE
        ),
        "copy": copy,
        "list": lambda folder: same(len(list(container.list_blob_names(name_starts_with=f"{folder}/"))), 3),
        "delete": lambda folder: container.delete_blob(f"{folder}/copy"),
        # A batch.
        "delete many": lambda folder: container.delete_blobs(f"{folder}/small", f"{folder}/large"),
    }


def adlfs() -> Steps:
    """The file system of fsspec; by a connection string, as it takes plain HTTP in no other way."""
    from adlfs import AzureBlobFileSystem

    files = AzureBlobFileSystem(connection_string=CONNECTION_STRING, assume_container_exists=True)
    return {
        "write": lambda folder: files.pipe_file(f"{CONTAINER}/{folder}/small", b"weights"),
        "write in blocks": lambda folder: files.pipe_file(f"{CONTAINER}/{folder}/large", LARGE),
        "read": lambda folder: same(files.cat_file(f"{CONTAINER}/{folder}/small"), b"weights"),
        "read in ranges": lambda folder: same(files.cat_file(f"{CONTAINER}/{folder}/large", 5, 1000), LARGE[5:1000]),
        "copy": lambda folder: files.cp_file(f"{CONTAINER}/{folder}/small", f"{CONTAINER}/{folder}/copy"),
        "list": lambda folder: same(len(files.ls(f"{CONTAINER}/{folder}", refresh=True)), 3),
        "delete": lambda folder: files.rm(f"{CONTAINER}/{folder}", recursive=True),
    }


def pyarrow() -> Steps:
    """Arrow's own file system, in C++."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow.fs import AzureFileSystem, FileSelector

    files = AzureFileSystem(
        account_name=ACCOUNT,
        blob_storage_authority=AUTHORITY,
        blob_storage_scheme="http",
        dfs_storage_authority=AUTHORITY,
        dfs_storage_scheme="http",
        sas_token=f"?{SAS}",
    )
    small, large = pa.table({"step": [1, 2, 3]}), pa.table({"bytes": [LARGE]})
    return {
        "write": lambda folder: pq.write_table(small, f"{CONTAINER}/{folder}/small", filesystem=files),
        "write in blocks": lambda folder: pq.write_table(large, f"{CONTAINER}/{folder}/large", filesystem=files),
        "read": lambda folder: same(pq.read_table(f"{CONTAINER}/{folder}/small", filesystem=files), small),
        "read in ranges": lambda folder: same(pq.read_table(f"{CONTAINER}/{folder}/large", filesystem=files), large),
        "copy": lambda folder: files.copy_file(f"{CONTAINER}/{folder}/small", f"{CONTAINER}/{folder}/copy"),
        "list": lambda folder: same(len(files.get_file_info(FileSelector(f"{CONTAINER}/{folder}"))), 3),
        "delete": lambda folder: files.delete_file(f"{CONTAINER}/{folder}/copy"),
    }


def object_store_options() -> dict[str, str]:
    """Options of what builds on object_store."""
    return {"account_name": ACCOUNT, "endpoint": ENDPOINT, "sas_token": SAS, "allow_http": "true"}


def deltalake() -> Steps:
    """One table that is opened once, appended to and read; its commits are renames."""
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    place, options = f"az://{CONTAINER}/table-{os.getpid()}", object_store_options()
    write_deltalake(place, pa.table({"step": [0]}), storage_options=options)
    table = DeltaTable(place, storage_options=options)

    def read(_folder: str) -> None:
        table.update_incremental()
        same(table.to_pyarrow_table().num_rows, table.version() + 1)

    return {
        "write": lambda _: write_deltalake(table, pa.table({"step": [1]}), mode="append"),
        "read": read,
        "list": lambda _: table.history(),
    }


def obstore() -> Steps:
    """object_store from Python."""
    import obstore as obs
    from obstore.store import AzureStore

    store = AzureStore(
        CONTAINER, account_name=ACCOUNT, endpoint=ENDPOINT, sas_key=SAS, client_options={"allow_http": True}
    )
    return {
        "write": lambda folder: obs.put(store, f"{folder}/small", b"weights"),
        "write in blocks": lambda folder: obs.put(store, f"{folder}/large", LARGE, chunk_size=1 << 20),
        "read": lambda folder: same(bytes(obs.get(store, f"{folder}/small").bytes()), b"weights"),
        "read in ranges": lambda folder: same(
            bytes(obs.get_range(store, f"{folder}/large", start=5, end=1000)), LARGE[5:1000]
        ),
        "copy": lambda folder: obs.copy(store, f"{folder}/small", f"{folder}/copy"),
        "list": lambda folder: same(len(obs.list(store, folder).collect()), 3),
        "delete": lambda folder: obs.delete(store, [f"{folder}/{name}" for name in ("small", "large", "copy")]),
    }


def polars() -> Steps:
    """Parquet, eagerly and by a pattern."""
    import polars as pl

    options: Any = object_store_options()
    frame = pl.DataFrame({"step": [1, 2, 3]})
    return {
        "write": lambda folder: frame.write_parquet(
            f"az://{CONTAINER}/{folder}/small.parquet", storage_options=options
        ),
        "read": lambda folder: same(
            pl.read_parquet(f"az://{CONTAINER}/{folder}/small.parquet", storage_options=options).to_dicts(),
            frame.to_dicts(),
        ),
        "list": lambda folder: same(
            pl.scan_parquet(f"az://{CONTAINER}/{folder}/*.parquet", storage_options=options).collect().height, 3
        ),
    }


def rclone() -> Steps:
    """The program, one run for each operation."""
    place = Path(tempfile.mkdtemp())
    (place / "small").write_bytes(b"weights")
    (place / "large").write_bytes(LARGE)
    environment = {
        "PATH": os.environ["PATH"],
        "RCLONE_CONFIG": str(place / "none.conf"),
        "RCLONE_CONFIG_VALETKEY_TYPE": "azureblob",
        "RCLONE_CONFIG_VALETKEY_SAS_URL": f"{ENDPOINT}/{CONTAINER}?{SAS}",
        "RCLONE_AZUREBLOB_CHUNK_SIZE": "1Mi",
        "RCLONE_RETRIES": "1",
        "RCLONE_LOW_LEVEL_RETRIES": RETRIES,
    }

    def run(*arguments: str | Path) -> bytes:
        program = Path(sys.executable).with_name("rclone")
        done = subprocess.run([program, *arguments], env=environment, capture_output=True, check=False)
        if done.returncode:
            raise AssertionError(done.stderr.decode())
        return done.stdout

    def at(folder: str, name: str) -> str:
        return f"valetkey:{CONTAINER}/{folder}/{name}"

    return {
        "write": lambda folder: run("copyto", place / "small", at(folder, "small")),
        "write in blocks": lambda folder: run("copyto", place / "large", at(folder, "large")),
        "read": lambda folder: same(run("cat", at(folder, "small")), b"weights"),
        "read in ranges": lambda folder: same(
            run("cat", "--offset", "5", "--count", "995", at(folder, "large")), LARGE[5:1000]
        ),
        "copy": lambda folder: run("copyto", at(folder, "small"), at(folder, "copy")),
        "list": lambda folder: same(len(run("lsf", at(folder, "")).split()), 3),
        "delete": lambda folder: run("delete", at(folder, "")),
    }


def curl() -> Steps:
    """The program, with what it does by itself: Expect for what is large, chunks for what comes from a pipe."""

    def run(*arguments: str, url: str, data: bytes = b"") -> bytes:
        done = subprocess.run(
            ["curl", "--fail", "--silent", "--show-error", "--retry", str(int(RETRIES) - 1), *arguments, url],
            input=data,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise AssertionError(done.stderr.decode())
        return done.stdout

    def at(folder: str, name: str, more: str = "") -> str:
        return f"{ENDPOINT}/{CONTAINER}/{folder}/{name}?{SAS}{more}"

    put = ("-X", "PUT", "-H", "x-ms-blob-type: BlockBlob", "--data-binary", "@-")
    listing = f"{ENDPOINT}/{CONTAINER}?restype=container&comp=list&{SAS}&prefix="
    return {
        "write": lambda folder: run(*put, url=at(folder, "small"), data=b"weights"),
        "write in blocks": lambda folder: run(*put, "-H", "Expect: 100-continue", url=at(folder, "large"), data=LARGE),
        "read": lambda folder: same(run(url=at(folder, "small")), b"weights"),
        "read in ranges": lambda folder: same(run("-r", "5-999", url=at(folder, "large")), LARGE[5:1000]),
        "copy": lambda folder: run(
            *("-X", "PUT", "-H", f"x-ms-copy-source: {at(folder, 'small')}", "-H", "Content-Length: 0"),
            url=at(folder, "copy"),
        ),
        "list": lambda folder: same(run(url=f"{listing}{folder}/").count(b"<Name>"), 3),
        "delete": lambda folder: run("-X", "DELETE", url=at(folder, "copy")),
    }


CLIENTS = {
    made.__name__: made for made in (azure_storage_blob, adlfs, pyarrow, deltalake, obstore, polars, rclone, curl)
}


def main(client: str, seconds: float) -> None:
    """Does all that the client can, over and over until the time is up; goes on after what fails."""
    began, number = time.monotonic(), 0
    done: Counter[str] = Counter()
    failures: list[str] = []
    steps = CLIENTS[client]()
    while not number or time.monotonic() - began < seconds:
        number += 1
        for name, step in steps.items():
            try:
                step(f"proxied-{client}-{os.getpid()}-{number}")
            except Exception as error:  # noqa: BLE001 (whatever a client raises)
                failures.append(f"{name}: {type(error).__name__}: {error}"[:300])
            done[name] += 1
            time.sleep(PAUSE)
    sys.stdout.write(json.dumps({"done": done, "failures": failures}) + "\n")
    sys.stdout.flush()
    # Some end by a signal now and then as the interpreter ends, which is not what is looked at.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
