"""Azure's own clients with renewing tokens, against the real Azurite, past the end of many tokens."""

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

import valetkey
from support.azure_signing import CONTAINER, KNOWN, signer
from support.azure_stack import ML, AzureStack
from valetkey.azure import aio, container_client
from valetkey.fsspec import filesystem
from valetkey.testing import FakeBroker
from valetkey.v1 import token_service_pb2 as token_pb

LIFE = timedelta(seconds=3)
WORDS = ["read", "add", "create", "write", "delete", "list"]


def _work(source: valetkey.TokenSource, azure: AzureStack, broker: FakeBroker) -> int:
    """Writes, reads, lists, copies and deletes for several lives of a token; returns how many it used."""
    used = set()
    where: dict[str, Any] = {name: getattr(broker, name) for name in KNOWN}
    ca_file = azure.profile.ca_file
    files = filesystem(f"az://{CONTAINER}", permissions=WORDS, storage_ca_file=ca_file, **where)
    with container_client(source, connection_verify=ca_file) as container:
        end = time.monotonic() + 3 * LIFE.total_seconds()
        while time.monotonic() < end:
            used.add(source.current().lease_id)
            container.upload_blob("long/a.bin", b"w" * 8192, overwrite=True)
            assert container.download_blob("long/a.bin").readall() == b"w" * 8192
            assert {blob.name for blob in container.list_blobs(name_starts_with="long/")} >= {"long/a.bin"}
            container.delete_blob("long/a.bin")
            with files.open(f"{CONTAINER}/files/a.bin", "wb", block_size=4096) as file:
                file.write(b"w" * 8192)
            files.mv(f"valetkey://{CONTAINER}/files/a.bin", f"{CONTAINER}/files/b.bin")
            assert files.cat_file(f"{CONTAINER}/files/b.bin", 2, 8192) == b"w" * 8190
            assert files.find(f"{CONTAINER}/files") == [f"{CONTAINER}/files/b.bin"]
            files.rm(f"{CONTAINER}/files", recursive=True)
            time.sleep(0.3)
    files.close()
    type(files).clear_instance_cache()
    return len(used)


async def test_a_job_outlives_its_tokens(azure: AzureStack) -> None:
    """Protects long jobs: written, read, listed, copied and deleted over many lives of a token without a failure."""
    sign = await signer(azure)
    # Not by the proxy of faults: Azurite copies from what it knows as itself.
    url = f"https://127.0.0.1:{azure.azurite.port}/{ML}"
    with FakeBroker(account=ML, url=url, sign=sign, ttl=LIFE) as broker:
        with broker.token_source(f"az://{CONTAINER}", WORDS) as source:
            assert await asyncio.to_thread(_work, source, azure, broker) >= 3
        assert broker.calls == ["WatchToken"]


async def test_a_token_that_storage_refuses_is_replaced(azure: AzureStack) -> None:
    """Protects jobs from a key that was revoked: the refusal is mended by one fresh token, for tasks alike."""
    good = await signer(azure)
    count = 0

    def sign(request: token_pb.IssueTokenRequest, start: datetime, end: datetime) -> str:
        nonlocal count
        count += 1
        token = good(request, start, end)
        return token if count > 1 else token.replace("sig=", "sig=AAAA")

    with FakeBroker(account=ML, url=azure.profile.blob_url(ML), sign=sign) as broker:
        where = {name: getattr(broker, name) for name in KNOWN}
        async with valetkey.AsyncTokenSource(f"az://{CONTAINER}", WORDS, **where) as source:
            container = await aio.container_client(
                source, connection_verify=azure.profile.ca_file, use_env_settings=False
            )
            async with container:
                await container.upload_blob("mended.bin", b"weights", overwrite=True)
                with pytest.raises(HttpResponseError):
                    await container.get_blob_client("missing.bin").get_blob_properties()
        assert len(broker.calls) == 2
