"""A file system of `valetkey.fsspec` on the real Azurite, behind the proxy of faults."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.azure_signing import CONTAINER, KNOWN, signer
from support.azure_stack import ML, AzureStack
from valetkey.fsspec import ValetKeyFileSystem, filesystem
from valetkey.testing import FakeBroker

WORDS = ["read", "add", "create", "write", "delete", "list"]
FOLDER = f"{CONTAINER}/versions"


@pytest.fixture
async def files(azure: AzureStack) -> AsyncIterator[ValetKeyFileSystem]:
    """Gives one that does not wait before it tries again; what is in FOLDER goes with the test."""
    sign = await signer(azure)
    with FakeBroker(account=ML, url=azure.profile.blob_url(ML), sign=sign) as broker:
        where: dict[str, Any] = {name: getattr(broker, name) for name in KNOWN}
        made = await asyncio.to_thread(
            filesystem,
            f"az://{CONTAINER}",
            permissions=WORDS,
            storage_ca_file=azure.profile.ca_file,
            skip_instance_cache=True,
            **where,
        )
        retries = made.service_client._config.retry_policy
        retries.initial_backoff = retries.increment_base = retries.random_jitter_range = 0
        yield made
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(made.rm, FOLDER, recursive=True)
        await asyncio.to_thread(made.close)
