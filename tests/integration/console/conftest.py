"""One broker and one console for the tests of a module; the connector and the grant of the demo are there."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.console import Console, running_console
from support.inproc import OPERATOR_KEY, bearer, new_connector


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Console]:
    """A console before a broker with the connector `azure-blob-demo` and the grant `training` to `key:trainer`."""
    async with running_console(tmp_path_factory.mktemp("console")) as running:
        await running.broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await running.broker.allow()
        yield running
