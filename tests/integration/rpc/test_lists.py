"""Pages, and who sees which resources."""

import base64
from pathlib import Path
from typing import Any

import grpc
import pytest

from support.failed_calls import failure
from support.inproc import (
    ADMIN_KEY,
    CONSUMER_KEY,
    OPERATOR_KEY,
    VIEWER_KEY,
    Broker,
    bearer,
    new_connector,
    running_broker,
)
from valetkey.v1 import api_key_service_pb2, common_pb2
from valetkey.v1 import connector_service_pb2 as connectors
from valetkey.v1.resource_service_pb2 import ListResourcesRequest
from valetkey_broker.api import resource_service
from valetkey_broker.errors import BrokerError, Reason

pytestmark = pytest.mark.unmeasured

NAMES = ["azure-blob-demo", "b", "c-1", "c-2", "d"]


@pytest.fixture
async def five(broker: Broker) -> Broker:
    """A broker with five connectors to everything."""
    for name in reversed(NAMES):
        await broker.connectors.CreateConnector(new_connector(name, ""), metadata=bearer(OPERATOR_KEY))
    return broker


async def page_of(broker: Broker, size: int, token: str = "") -> Any:
    request = connectors.ListConnectorsRequest(page_size=size, page_token=token)
    return await broker.connectors.ListConnectors(request, metadata=bearer(VIEWER_KEY))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 0, 2_000_000])
async def test_pages_hold_everything_once(five: Broker, size: int) -> None:
    """Walking the pages gives each connector once, by name, and ends."""
    seen: list[str] = []
    token = ""
    while True:
        answer = await page_of(five, size, token)
        seen += [connector.name for connector in answer.connectors]
        token = answer.next_page_token
        if not token:
            break
    assert seen == NAMES


async def test_pages_go_on_when_names_come_and_go(five: Broker) -> None:
    """A name deleted or added between two pages neither repeats nor hides others."""
    first = await page_of(five, 2)
    await five.connectors.DeleteConnector(connectors.DeleteConnectorRequest(name="b"), metadata=bearer(OPERATOR_KEY))
    await five.connectors.CreateConnector(new_connector("a", ""), metadata=bearer(OPERATOR_KEY))
    second = await page_of(five, 5, first.next_page_token)
    assert [connector.name for connector in second.connectors] == ["c-1", "c-2", "d"]


@pytest.mark.parametrize(
    ("field", "size", "token"),
    [
        ("page_size", -1, ""),
        ("page_token", 1, "?"),
        ("page_token", 1, "YQ"),
        ("page_token", 1, "\u00e4"),
        ("page_token", 1, base64.urlsafe_b64encode(b"../x").decode()),
        ("page_token", 1, base64.urlsafe_b64encode(b"\xff\xfe").decode()),
    ],
)
async def test_bad_pages(broker: Broker, field: str, size: int, token: str) -> None:
    """A page that nobody can mean is refused, for connectors and for keys."""
    request = connectors.ListConnectorsRequest(page_size=size, page_token=token)
    keys = api_key_service_pb2.ListApiKeysRequest(page_size=size, page_token=token)
    for call in (
        broker.connectors.ListConnectors(request, metadata=bearer(VIEWER_KEY)),
        broker.api_keys.ListApiKeys(keys, metadata=bearer(ADMIN_KEY)),
    ):
        told = await failure(call)
        assert told.short == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        assert told.metadata["field"] == field


async def rows(broker: Broker, key: str, **fields: Any) -> dict[str, list[str]]:
    answer = await broker.resources.ListResources(ListResourcesRequest(**fields), metadata=bearer(key))
    return {row.connector: [resource.url for resource in row.resources] for row in answer.connectors}


async def test_everyone_sees_their_own(five: Broker) -> None:
    """A stack component sees what its grants let it use, without any nothing; people with a role see all."""
    assert await rows(five, CONSUMER_KEY) == {}
    await five.allow(connectors=("azure-blob-demo", "b"), containers=("demo",))
    assert list(await rows(five, VIEWER_KEY)) == NAMES
    assert list(await rows(five, ADMIN_KEY)) == NAMES
    demo = ["https://demoaccount.blob.invalid/demo"]
    assert await rows(five, CONSUMER_KEY) == {"azure-blob-demo": demo, "b": demo}
    assert await rows(five, CONSUMER_KEY, resource_id="az://models") == {}


async def test_filters(five: Broker) -> None:
    """Connector, type and resource narrow the answer."""
    await five.connectors.CreateConnector(new_connector("only-demo", "demo"), metadata=bearer(OPERATOR_KEY))
    assert list(await rows(five, VIEWER_KEY, connector="c-1")) == ["c-1"]
    assert list(await rows(five, VIEWER_KEY, resource_type=common_pb2.RESOURCE_TYPE_BLOB_CONTAINER)) == [
        *NAMES,
        "only-demo",
    ]
    models = await rows(five, VIEWER_KEY, resource_id="az://models")
    assert list(models) == NAMES  # One that is for another container is not asked.
    assert models["b"] == ["https://demoaccount.blob.invalid/models", "https://otheraccount.blob.invalid/models"]
    assert (await rows(five, VIEWER_KEY, connector="b", resource_id="az://nowhere")) == {"b": []}


@pytest.mark.parametrize(
    ("fields", "expected", "metadata"),
    [
        ({"connector": "A B"}, (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"), "field"),
        ({"resource_id": "a?x"}, (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"), "field"),
        ({"resource_type": 9}, (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"), "field"),
        ({"connector": "nobody"}, (grpc.StatusCode.NOT_FOUND, "CONNECTOR_NOT_FOUND"), "connector"),
    ],
)
async def test_bad_questions(five: Broker, fields: dict[str, Any], expected: Any, metadata: str) -> None:
    """A question that makes no sense is refused, not answered with an empty list."""
    before = dict(five.cloud.calls)
    told = await failure(five.resources.ListResources(ListResourcesRequest(**fields), metadata=bearer(VIEWER_KEY)))
    assert told.short == expected
    assert metadata in told.metadata
    assert dict(five.cloud.calls) == before


async def test_consumer_asks_for_a_connector_of_others(five: Broker) -> None:
    """Listing does not show what the caller may not use, nor whether it is there."""
    told = [
        await failure(five.resources.ListResources(ListResourcesRequest(connector=name), metadata=bearer(CONSUMER_KEY)))
        for name in ("c-1", "nobody")
    ]
    assert [failed.short for failed in told] == [(grpc.StatusCode.PERMISSION_DENIED, "RESOURCE_DENIED")] * 2
    assert told[0].message.replace("c-1", "nobody") == told[1].message


async def test_the_cloud_is_asked_anew_for_people_only(five: Broker) -> None:
    """Viewers see at once what changed, on the first page; a consumer's loop never keeps the cloud busy."""
    await five.allow()
    asking = {"connector": "b", "page_size": 1}
    await five.resources.ListResources(ListResourcesRequest(**asking), metadata=bearer(VIEWER_KEY))
    asked = five.cloud.calls["list_containers"]
    first = await five.resources.ListResources(
        ListResourcesRequest(**asking, refresh=True), metadata=bearer(VIEWER_KEY)
    )
    accounts = len(five.cloud.containers)
    assert five.cloud.calls["list_containers"] == asked + accounts
    following = ListResourcesRequest(**asking, refresh=True, page_token=first.next_page_token)
    assert (await five.resources.ListResources(following, metadata=bearer(VIEWER_KEY))).connectors
    told = await failure(
        five.resources.ListResources(ListResourcesRequest(refresh=True), metadata=bearer(CONSUMER_KEY))
    )
    assert told.short == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    assert "two seconds" in told.message
    assert five.cloud.calls["list_containers"] == asked + accounts


async def test_one_failing_connector_does_not_hide_the_others(broker: Broker) -> None:
    """The failing one shows its error in its own row, with reason, words and the call's request id."""
    await broker.connectors.CreateConnector(new_connector("good", ""), metadata=bearer(OPERATOR_KEY))
    request = new_connector("lost", "", storage_account="otheraccount")
    await broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY))
    del broker.cloud.containers["otheraccount"]
    metadata = (*bearer(VIEWER_KEY), ("x-request-id", "listing-1"))
    answer = await broker.resources.ListResources(ListResourcesRequest(), metadata=metadata)
    good, lost = answer.connectors
    assert (good.connector, lost.connector) == ("good", "lost")
    assert len(good.resources) == 2
    assert not good.error_message
    assert not lost.resources
    assert lost.error.reason == 15
    assert lost.error.metadata["azure_code"] == "ResourceNotFound"
    assert lost.error.request_id == "listing-1"
    assert lost.error_message == "There is no storage account otheraccount."


async def test_all_connectors_failing(five: Broker) -> None:
    """With Azure away the list still comes, an error in each row, with the time to come back."""
    five.cloud.fail("list_containers", BrokerError(Reason.CLOUD_THROTTLED, "later", retry_after=3))
    answer = await five.resources.ListResources(ListResourcesRequest(), metadata=bearer(VIEWER_KEY))
    assert [row.error.retry_delay.seconds for row in answer.connectors] == [3] * 5
    assert {row.error_message for row in answer.connectors} == {"later"}


async def test_a_consumer_does_not_see_what_else_there_is(stocked: Broker) -> None:
    """When its container vanishes, the error names that one alone; an operator is told what the connector reaches."""
    stocked.cloud.containers = {"demoaccount": {"board-minutes"}}
    answer = await stocked.resources.ListResources(ListResourcesRequest(), metadata=bearer(CONSUMER_KEY))
    (row,) = answer.connectors
    assert row.error_message == "connector azure-blob-demo does not reach az://demo"
    assert "board-minutes" not in str(answer)
    verify = connectors.VerifyConnectorRequest(name="azure-blob-demo")
    told = await failure(stocked.connectors.VerifyConnector(verify, metadata=bearer(OPERATOR_KEY)))
    assert "it reaches az://board-minutes" in told.message


async def test_a_listing_ends_before_the_time_of_its_caller(five: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cloud takes longer than callers wait, they hear which connectors nobody could look at."""
    five.cloud.hold("find_accounts")
    monkeypatch.setattr(resource_service, "_LONGEST_SECONDS", 0.05)
    answer = await five.resources.ListResources(ListResourcesRequest(refresh=True), metadata=bearer(VIEWER_KEY))
    assert [entry.connector for entry in answer.connectors] == NAMES
    told = [entry.error_message or entry.account_errors[0].message for entry in answer.connectors]
    assert all("was not looked at in time" in each for each in told)
    monkeypatch.undo()
    five.cloud.heal()
    answer = await five.resources.ListResources(ListResourcesRequest(refresh=True), metadata=bearer(VIEWER_KEY))
    assert all(entry.resources and not entry.account_errors for entry in answer.connectors)


async def test_a_listing_ends_before_the_brokers_own_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator who gives calls less time than that does not have listings end without what was found."""
    async with running_broker(tmp_path, server={"max_deadline_seconds": 10}) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector("one", ""), metadata=bearer(OPERATOR_KEY))
        monkeypatch.setattr(resource_service, "_OF_THE_TIME", 0.01)
        broker.cloud.hold("find_accounts")
        answer = await broker.resources.ListResources(ListResourcesRequest(refresh=True), metadata=bearer(VIEWER_KEY))
        (entry,) = answer.connectors
        assert "was not looked at in time" in (entry.error_message or entry.account_errors[0].message)
