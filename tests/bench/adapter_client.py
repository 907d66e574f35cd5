"""One adapter of ours, or what reads the files of `valetkey agent`, that works for a while with objects of its own.

    python adapter_client.py ADAPTER SECONDS [PAUSE]

finds the broker by VALETKEY_*, the container by RESOURCE, storage's CA by STORAGE_CA_FILE, tokens live for TTL seconds;
`agent` reads AGENT_URL_FILE before each operation. It prints, as JSON, how often each operation was done, by how many
tokens, and what failed.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import valetkey

Steps = dict[str, Callable[[str], Any]]
RESOURCE, CA_FILE = os.environ["RESOURCE"], os.environ["STORAGE_CA_FILE"]
TTL = timedelta(seconds=float(os.environ["TTL"]))
PERMISSIONS = ("read", "list", "write", "create", "add", "delete")
# Above what each client sends in one piece here.
LARGE = os.urandom(3 * 1024 * 1024)
_BLOCKS: dict[str, Any] = dict.fromkeys(("max_block_size", "max_single_put_size", "max_single_get_size"), 1 << 20)


def same(found: Any, expected: Any) -> None:
    """Fails where they differ."""
    if found != expected:
        raise AssertionError(f"found {found!r:.60}, expected {expected!r:.60}")


def container_of(token: valetkey.Token) -> str:
    """Returns the name of the container that a token is for."""
    return token.resource.resource_id.removeprefix("az://").partition("/")[0]


def account_of(token: valetkey.Token) -> str:
    """Returns the URL of the account that a token is for."""
    return token.url.rpartition("/")[0]


def azure() -> Steps:
    """`valetkey.azure`, with the SDK's own client."""
    from azure.storage.blob import ContainerClient

    from valetkey import azure as adapter

    source = valetkey.TokenSource(RESOURCE, PERMISSIONS, ttl=TTL)
    token = source.current()
    container = ContainerClient(
        account_of(token), container_of(token), **adapter.options(source, connection_verify=CA_FILE), **_BLOCKS
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
        "delete many": lambda folder: container.delete_blobs(f"{folder}/small", f"{folder}/large"),
    }


def azure_aio() -> Steps:
    """`valetkey.azure.aio`, in one loop that goes on."""
    from azure.storage.blob.aio import ContainerClient

    from valetkey.azure import aio

    runner = asyncio.Runner()

    async def make() -> ContainerClient:
        source = valetkey.AsyncTokenSource(RESOURCE, PERMISSIONS, ttl=TTL)
        token = await source.current()
        return ContainerClient(
            account_of(token), container_of(token), **aio.options(source, connection_verify=CA_FILE), **_BLOCKS
        )

    container = runner.run(make())

    async def read(name: str) -> bytes:
        return await (await container.download_blob(name)).readall()

    async def names(folder: str) -> int:
        return len([name async for name in container.list_blob_names(name_starts_with=f"{folder}/")])

    async def upload(name: str, data: bytes) -> None:
        await container.upload_blob(name, data, overwrite=True, max_concurrency=4)

    return {
        "write": lambda folder: runner.run(upload(f"{folder}/small", b"weights")),
        "write in blocks": lambda folder: runner.run(upload(f"{folder}/large", LARGE)),
        "read": lambda folder: same(runner.run(read(f"{folder}/small")), b"weights"),
        "read in ranges": lambda folder: same(runner.run(read(f"{folder}/large")), LARGE),
        "list": lambda folder: same(runner.run(names(folder)), 2),
        "delete": lambda folder: runner.run(container.delete_blob(f"{folder}/small")),
    }


def fsspec() -> Steps:
    """`valetkey.fsspec`."""
    from valetkey.fsspec import filesystem

    files: Any = filesystem(RESOURCE, permissions=PERMISSIONS, ttl=TTL, storage_ca_file=CA_FILE, blocksize=1 << 20)
    at = files.container

    return {
        "write": lambda folder: files.pipe_file(f"{at}/{folder}/small", b"weights"),
        "write in blocks": lambda folder: files.pipe_file(f"{at}/{folder}/large", LARGE),
        "read": lambda folder: same(files.cat_file(f"{at}/{folder}/small"), b"weights"),
        "read in ranges": lambda folder: same(files.cat_file(f"{at}/{folder}/large", 5, 1000), LARGE[5:1000]),
        "copy": lambda folder: files.cp_file(f"{at}/{folder}/small", f"{at}/{folder}/copy"),
        "list": lambda folder: same(len(files.ls(f"{at}/{folder}", refresh=True)), 3),
        "delete": lambda folder: files.rm(f"{at}/{folder}", recursive=True),
    }


def agent() -> Steps:
    """Curl with the URL that the agent keeps in a file, read before each run, as a script does."""
    file = Path(os.environ["AGENT_URL_FILE"])

    def once(arguments: tuple[str, ...], path: str, more: str, data: bytes) -> "subprocess.CompletedProcess[bytes]":
        url, _, sas = file.read_text().strip().partition("?")
        command = ("curl", "--fail", "--silent", "--show-error", "--cacert", CA_FILE, *arguments)
        return subprocess.run([*command, f"{url}{path}?{sas}{more}"], input=data, capture_output=True, check=False)

    def run(*arguments: str, path: str = "", more: str = "", data: bytes = b"") -> bytes:
        # Not curl's own --retry, which would send the old token once more.
        for _ in range(5):
            done = once(arguments, path, more, data)
            if not done.returncode:
                return done.stdout
            if b"error: 503" not in done.stderr:
                break
            time.sleep(0.5)
        raise AssertionError(done.stderr.decode())

    put = ("-X", "PUT", "-H", "x-ms-blob-type: BlockBlob", "--data-binary", "@-")
    return {
        "write": lambda folder: run(*put, path=f"/{folder}/small", data=b"weights"),
        "read": lambda folder: same(run(path=f"/{folder}/small"), b"weights"),
        "list": lambda folder: same(run(more=f"&restype=container&comp=list&prefix={folder}/").count(b"<Name>"), 1),
        "delete": lambda folder: run("-X", "DELETE", path=f"/{folder}/small"),
    }


ADAPTERS = {made.__name__: made for made in (azure, azure_aio, fsspec, agent)}


def main(adapter: str, seconds: float, pause: float) -> None:
    """Does all that the adapter can, over and over until the time is up; goes on after what fails."""
    began, number = time.monotonic(), 0
    done: Counter[str] = Counter()
    failures: list[str] = []
    steps = ADAPTERS[adapter]()
    while not number or time.monotonic() - began < seconds:
        number += 1
        for name, step in steps.items():
            try:
                step(f"by_{adapter}-{os.getpid()}-{number}")
            except Exception as error:  # noqa: BLE001 (whatever a client raises)
                failures.append(f"{time.monotonic() - began:.1f} s, {name}: {type(error).__name__}: {error}"[:300])
            done[name] += 1
            time.sleep(pause)
    sys.stdout.write(json.dumps({"done": done, "failures": failures}) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.05)
