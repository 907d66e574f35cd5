"""Accounts with tens of thousands of containers: nothing vanishes, and nobody else has to wait for them."""

import asyncio
import tracemalloc
from pathlib import Path

import pytest

from support.event_loop_turns import watched
from support.inproc import ADMIN_KEY, OPERATOR_KEY, Broker, bearer, new_connector
from valetkey import Client
from valetkey.v1 import connector_service_pb2 as connectors
from valetkey_broker.api import resource_service
from valetkey_broker.concurrency.cooperative_slices import SLICE

pytestmark = pytest.mark.unmeasured

MANY = [f"container-{number:05}" for number in range(24_000)]


@pytest.fixture
async def large(broker: Broker) -> Broker:
    """A broker with a connector to 24,000 containers, one to a few, and one whose account is gone."""
    broker.cloud.containers = {"largeaccount": set(MANY), "smallaccount": {"demo"}, "lostaccount": {"gone"}}
    for name, account in (("large", "largeaccount"), ("small", "smallaccount"), ("lost", "lostaccount")):
        request = new_connector(name, "", storage_account=account)
        created = await broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY))
        assert len(created.resources) + created.left_out == len(broker.cloud.containers[account])
    del broker.cloud.containers["lostaccount"]
    return broker


async def test_nothing_vanishes_from_a_large_listing(
    large: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client shows all containers of all connectors, each error in its own row, a slice of them at a time."""
    made = 0
    make = resource_service.resource_message

    def counted(*arguments: object) -> object:
        nonlocal made
        made += 1
        return make(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(resource_service, "resource_message", counted)
    with Client(large.endpoint, api_key=ADMIN_KEY, ca_file=tmp_path / "ca.pem", timeout=120) as client:
        async with watched(lambda: made) as turns:
            rows = await asyncio.to_thread(client.list_resources)
    found = {row.connector: row for row in rows}
    assert [resource.resource_id for resource in found["large"].resources] == [f"az://{name}" for name in MANY]
    assert [resource.resource_id for resource in found["small"].resources] == ["az://demo"]
    assert "no storage account lostaccount" in str(found["lost"].error)
    assert found["large"].error is None
    assert len(MANY) <= made <= len(MANY) + 50  # One more for each row and page, and none twice.
    assert turns.most <= 2 * SLICE  # Rows of several connectors may meet in one turn.


async def test_verifying_a_large_connector_says_what_it_leaves_out(large: Broker) -> None:
    """The answer fits into a message, and tells how many containers do not."""
    request = connectors.VerifyConnectorRequest(name="large")
    answer = await large.connectors.VerifyConnector(request, metadata=bearer(OPERATOR_KEY))
    assert len(answer.resources) == 5000
    assert len(answer.resources) + answer.left_out == len(MANY)


async def test_hundreds_of_accounts_in_one_listing_take_little_memory(broker: Broker, tmp_path: Path) -> None:
    """200 accounts of 50 containers, asked anew: all of them, two kilobytes each at most, client included."""
    names = {f"container-{number:02}" for number in range(50)}
    broker.cloud.containers = {f"account{number:03}": set(names) for number in range(200)}
    request = new_connector("many", "")
    created = await broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY))
    assert len(created.resources) + created.left_out == 10_000
    with Client(broker.endpoint, api_key=ADMIN_KEY, ca_file=tmp_path / "ca.pem", timeout=120) as client:
        tracemalloc.start()
        try:
            (row,) = await asyncio.to_thread(client.list_resources, refresh=True)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(row.resources) == 10_000
    assert peak < 10_000 * 2048, peak
