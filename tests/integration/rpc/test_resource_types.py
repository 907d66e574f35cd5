"""Connectors for all resource types, of which a second one is a row that only these tests add."""

from typing import Any

import grpc
import pytest

from support.failed_calls import failure
from support.inproc import ADMIN_KEY, CONSUMER_KEY, OPERATOR_KEY, VIEWER_KEY, Broker, bearer, new_connector
from support.second_resource_type import NUMBER, add_second_type
from valetkey.v1 import connector_service_pb2 as pb
from valetkey.v1 import token_service_pb2 as tokens
from valetkey.v1.resource_service_pb2 import ListResourcesRequest
from valetkey_broker.errors import BrokerError, Reason

BLOBS = 1


@pytest.fixture(autouse=True)
def second_type(monkeypatch: pytest.MonkeyPatch, broker: Broker) -> None:
    """Adds shelves, one of which is called as a container is."""
    add_second_type(monkeypatch)
    broker.cloud.others["test-shelf"] = {"demoaccount": {"shelf-a", "shelf-b"}, "otheraccount": set()}
    broker.cloud.containers["demoaccount"].add("shelf-a")


async def register(broker: Broker, name: str, *, resource_type: int = 0, resource_id: str = "") -> Any:
    request = new_connector(name, resource_id)
    request.resource_type = resource_type
    return await broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY))


async def update(broker: Broker, key: str = OPERATOR_KEY, **change: Any) -> Any:
    request = pb.UpdateConnectorRequest(name="azure-blob-demo", **change)
    return (await broker.connectors.UpdateConnector(request, metadata=bearer(key))).connector


def served(connector: Any) -> tuple[int, list[int], str]:
    return connector.resource_type, list(connector.resource_types), connector.resource_id


async def entries(broker: Broker, key: str = VIEWER_KEY, **fields: Any) -> list[tuple[str, int, list[str]]]:
    answer = await broker.resources.ListResources(ListResourcesRequest(**fields), metadata=bearer(key))
    return [(row.connector, row.resource_type, [r.resource_id for r in row.resources]) for row in answer.connectors]


async def issue(broker: Broker, resource_id: str) -> Any:
    request = tokens.IssueTokenRequest(resource_id=resource_id, permissions=[1])
    return await broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))


async def test_which_types_a_connector_is_for(broker: Broker) -> None:
    """Without a type it is for all, with one for that, and a resource says its own; filters find all that serve one."""
    every = await register(broker, "azure-blob-demo")
    assert served(every.connector) == (0, [BLOBS, NUMBER], "")
    assert {each.resource_type for each in every.resources} == {BLOBS, NUMBER}
    shelves = await register(broker, "shelves", resource_type=NUMBER)
    assert served(shelves.connector) == (NUMBER, [NUMBER], "")
    assert [each.resource_id for each in shelves.resources] == ["shelf://shelf-a", "shelf://shelf-b"]
    one = await register(broker, "one", resource_id="shelf://shelf-b")
    assert served(one.connector) == (NUMBER, [NUMBER], "shelf://shelf-b")
    assert served((await register(broker, "demo", resource_id="demo")).connector) == (BLOBS, [BLOBS], "az://demo")
    for number, names in ((BLOBS, ["azure-blob-demo", "demo"]), (NUMBER, ["azure-blob-demo", "one", "shelves"])):
        request = pb.ListConnectorsRequest(resource_type=number)
        listed = await broker.connectors.ListConnectors(request, metadata=bearer(VIEWER_KEY))
        assert [connector.name for connector in listed.connectors] == names


async def test_types_are_described(broker: Broker) -> None:
    """Forms and wizards learn of a type from its row."""
    answer = await broker.connectors.ListConnectorTypes(pb.ListConnectorTypesRequest(), metadata=bearer(VIEWER_KEY))
    told = [(each.resource_type, each.title, each.id_examples[0]) for each in answer.types[0].resource_types]
    assert told == [(BLOBS, "Blob container", "az://CONTAINER"), (NUMBER, "Shelf", "shelf://shelf-NAME")]


async def test_a_type_and_a_resource_of_another(broker: Broker) -> None:
    """What contradicts itself is refused before the cloud is asked."""
    request = new_connector("wrong", "shelf://shelf-a")
    told = await failure(broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY)))
    assert (told.short, told.metadata["field"]) == (
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
        "resource_type",
    )
    assert not broker.cloud.calls["log_in"]


async def test_resources_are_listed_by_type(broker: Broker) -> None:
    """Each type has a row of its own, pages included; one that cannot be listed shows its error there alone."""
    await register(broker, "azure-blob-demo")
    blobs = ["az://demo", "az://models", "az://shelf-a", "az://models"]
    shelves = ["shelf://shelf-a", "shelf://shelf-b"]
    assert await entries(broker) == [("azure-blob-demo", BLOBS, blobs), ("azure-blob-demo", NUMBER, shelves)]
    assert await entries(broker, resource_type=NUMBER) == [("azure-blob-demo", NUMBER, shelves)]
    assert [each for _, _, found in await entries(broker, resource_id="shelf://shelf-a") for each in found] == [
        "shelf://shelf-a"
    ]
    seen: list[str] = []
    token = ""
    for _ in range(6):
        request = ListResourcesRequest(page_size=1, page_token=token)
        answer = await broker.resources.ListResources(request, metadata=bearer(VIEWER_KEY))
        seen += [resource.resource_id for row in answer.connectors for resource in row.resources]
        token = answer.next_page_token
    assert (seen, token) == ([*blobs, *shelves], "")


async def test_what_one_type_refuses_hides_no_other(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A principal without rights on shelves verifies all the same, and is told of what it lacks."""
    listed = broker.cloud.list_containers

    async def list_containers(connector: Any, *rest: Any) -> Any:
        if connector.resource_type == "test-shelf":
            raise BrokerError(Reason.CLOUD_PERMISSION_MISSING, "no rights on shelves", {})
        return await listed(connector, *rest)

    monkeypatch.setattr(broker.cloud, "list_containers", list_containers)
    created = await register(broker, "azure-blob-demo")
    assert {each.resource_type for each in created.resources} == {BLOBS}
    assert {(each.account, each.message) for each in created.account_errors} == {
        ("demoaccount", "no rights on shelves"),
        ("otheraccount", "no rights on shelves"),
    }
    answer = await broker.resources.ListResources(ListResourcesRequest(), metadata=bearer(OPERATOR_KEY))
    assert [(row.resource_type, row.error_message) for row in answer.connectors] == [
        (BLOBS, ""),
        (NUMBER, "no rights on shelves"),
    ]


async def test_a_grant_means_one_type(broker: Broker) -> None:
    """A grant of a container gives no shelf of its name, nor the other way round; each gives its own."""
    await register(broker, "azure-blob-demo")
    await broker.allow(containers=("shelf-*",), name="containers")
    assert (await issue(broker, "az://shelf-a")).resource.resource_type == BLOBS
    told = await failure(issue(broker, "shelf://shelf-a"))
    assert told.short == (grpc.StatusCode.PERMISSION_DENIED, "RESOURCE_DENIED")
    await broker.allow(containers=("shelf://shelf-*",), name="shelves")
    resource = (await issue(broker, "shelf://shelf-a")).resource
    assert (resource.resource_type, resource.resource_id) == (NUMBER, "shelf://shelf-a")
    assert resource.url == "https://demoaccount.blob.invalid/shelf-a"
    assert broker.cloud.signed[-1].scope.resource_type == "test-shelf"
    assert await entries(broker, CONSUMER_KEY) == [
        ("azure-blob-demo", BLOBS, ["az://shelf-a"]),
        ("azure-blob-demo", NUMBER, ["shelf://shelf-a", "shelf://shelf-b"]),
    ]


async def test_a_connector_of_one_type_gives_no_other(broker: Broker) -> None:
    """A grant cannot widen what its connector serves."""
    await register(broker, "azure-blob-demo", resource_type=BLOBS)
    await broker.allow(containers=("shelf://shelf-a", "demo"))
    assert (await issue(broker, "demo")).resource.resource_id == "az://demo"
    assert (await failure(issue(broker, "shelf://shelf-a"))).short[0] is grpc.StatusCode.PERMISSION_DENIED


async def test_types_are_narrowed_and_widened(broker: Broker) -> None:
    """An update says the one type, and takes it away; a wider one is for admins where grants are bound."""
    await register(broker, "azure-blob-demo")
    assert served(await update(broker, resource_type=NUMBER)) == (NUMBER, [NUMBER], "")
    assert served(await update(broker, remove=["resource_type"])) == (0, [BLOBS, NUMBER], "")
    assert served(await update(broker, resource_id="demo")) == (BLOBS, [BLOBS], "az://demo")
    for change in ({"resource_type": NUMBER}, {"remove": ["resource_type"]}):
        told = await failure(update(broker, **change))
        assert told.short == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    await broker.allow(containers=("demo",))
    both = {"remove": ["resource_type", "resource_id"]}
    assert (await failure(update(broker, **both))).short == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    assert served(await update(broker, ADMIN_KEY, **both)) == (0, [BLOBS, NUMBER], "")


async def test_stored_documents_of_before(broker: Broker) -> None:
    """A connector that was stored for one type is for that one; one for all is stored as such."""
    await register(broker, "azure-blob-demo")
    await register(broker, "blobs", resource_type=BLOBS)
    documents = [await broker.store.read(f"connectors/{name}") for name in ("azure-blob-demo", "blobs")]
    assert [document and document.data["resource_type"] for document in documents] == [None, "blob-container"]
    answer = await broker.connectors.GetConnector(pb.GetConnectorRequest(name="blobs"), metadata=bearer(VIEWER_KEY))
    assert served(answer.connector) == (BLOBS, [BLOBS], "")
