"""A broker, and one with a connector; a log that is searched."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.captured_log import Log, captured_log
from support.inproc import OPERATOR_KEY, Broker, bearer, new_connector, running_broker


@pytest.fixture
def log() -> Iterator[Log]:
    with captured_log() as captured:
        yield captured


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker without connectors."""
    async with running_broker(tmp_path) as running:
        await running.ready()
        yield running


@pytest.fixture
async def stocked(broker: Broker) -> Broker:
    """A broker with the connector `azure-blob-demo` for az://demo, which `key:trainer` is granted."""
    await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
    await broker.allow()
    return broker
