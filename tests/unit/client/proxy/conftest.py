"""The proxy between a tool and a storage account in memory."""

from collections.abc import AsyncIterator

import pytest

from support.fake_storage import Rig, running_rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with running_rig() as running:
        yield running
