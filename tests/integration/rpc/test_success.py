"""Every RPC does its job over the wire."""

import hashlib
import time
import uuid
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from support.failed_calls import failure
from support.inproc import (
    ADMIN_KEY,
    CLIENT,
    CONSUMER_KEY,
    OPERATOR_KEY,
    TENANT,
    VIEWER_KEY,
    Broker,
    bearer,
    make_key,
    new_connector,
    running_broker,
)
from support.waiting import eventually
from valetkey.v1 import api_key_service_pb2 as keys
from valetkey.v1 import common_pb2, resource_service_pb2
from valetkey.v1 import connector_service_pb2 as connectors
from valetkey.v1.token_service_pb2 import IssueTokenRequest

NEW_KEY = make_key("N")


def in_an_hour() -> Timestamp:
    return Timestamp(seconds=int(time.time()) + 3600)


async def test_create_connector_verifies_stores_and_shows_what_it_reaches(broker: Broker) -> None:
    """Registering proves the secret good, stores it once, and says who did it."""
    answer = await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
    stored = answer.connector
    assert (stored.name, stored.resource_id, stored.credential_version) == ("azure-blob-demo", "az://demo", 1)
    assert (stored.azure.tenant_id, stored.azure.client_id, stored.azure.cloud) == (TENANT, CLIENT, "dev")
    assert stored.meta.created_by == "key:ops"
    assert abs(stored.meta.create_time.seconds - time.time()) < 60
    assert uuid.UUID(stored.meta.uid)
    assert [(r.resource_id, r.account, r.url) for r in answer.resources] == [
        ("az://demo", "demoaccount", "https://demoaccount.blob.invalid/demo")
    ]
    assert {"log_in", "list_containers", "signing_key"} <= set(broker.cloud.calls)
    document = await broker.store.read("credentials/azure-blob-demo")
    assert document is not None
    assert set(document.data) == {"client_secret", "change"}


async def test_check_connector_stores_nothing_and_its_types_are_for_everybody(broker: Broker) -> None:
    """What a wizard needs: what there is, and what a connector would reach before it is registered."""
    described = await broker.connectors.ListConnectorTypes(
        connectors.ListConnectorTypesRequest(), metadata=bearer(VIEWER_KEY)
    )
    (azure,) = described.types
    assert azure.type == connectors.CONNECTOR_TYPE_AZURE
    assert [field.name for field in azure.auth_methods[0].fields if field.secret]
    request = connectors.CheckConnectorRequest(candidate=new_connector())
    checked = await broker.connectors.CheckConnector(request, metadata=bearer(OPERATOR_KEY))
    assert [resource.resource_id for resource in checked.resources] == ["az://demo"]
    assert await broker.store.read("credentials/azure-blob-demo") is None
    refused = await failure(broker.connectors.CheckConnector(request, metadata=bearer(VIEWER_KEY)))
    assert refused.code.name == "PERMISSION_DENIED"


async def test_get_list_verify_and_delete_connector(stocked: Broker) -> None:
    """A connector is seen, verified and taken away again, with its secret and what was held for it."""
    shown = await stocked.connectors.GetConnector(
        connectors.GetConnectorRequest(name="azure-blob-demo"), metadata=bearer(VIEWER_KEY)
    )
    listed = await stocked.connectors.ListConnectors(connectors.ListConnectorsRequest(), metadata=bearer(VIEWER_KEY))
    assert list(listed.connectors) == [shown.connector]
    assert not listed.next_page_token
    verified = await stocked.connectors.VerifyConnector(
        connectors.VerifyConnectorRequest(name="azure-blob-demo"), metadata=bearer(OPERATOR_KEY)
    )
    assert [resource.resource_id for resource in verified.resources] == ["az://demo"]
    await stocked.connectors.DeleteConnector(
        connectors.DeleteConnectorRequest(name="azure-blob-demo"), metadata=bearer(OPERATOR_KEY)
    )
    gone = await failure(
        stocked.connectors.GetConnector(
            connectors.GetConnectorRequest(name="azure-blob-demo"), metadata=bearer(VIEWER_KEY)
        )
    )
    assert gone.reason == "CONNECTOR_NOT_FOUND"
    assert await stocked.store.read("credentials/azure-blob-demo", 1) is None
    assert shown.connector.meta.uid in stocked.cloud.forgotten


async def test_issue_token_honours_what_was_asked(stocked: Broker) -> None:
    """ttl, permissions, address and connector of the request are those of the token, and a lease says so."""
    before = time.time()
    answer = await stocked.tokens.IssueToken(
        IssueTokenRequest(
            resource_id="az://demo",
            permissions=[common_pb2.PERMISSION_LIST, common_pb2.PERMISSION_WRITE, common_pb2.PERMISSION_READ],
            ttl=Duration(seconds=600, nanos=999_999_999),
            connector="azure-blob-demo",
            source_ip="203.0.113.1-203.0.113.9",
        ),
        metadata=bearer(CONSUMER_KEY),
    )
    assert before + 599 <= answer.expire_time.seconds <= time.time() + 600
    assert list(answer.permissions) == [1, 4, 6]
    for field in ("sp=rwl", "spr=https", "sip=203.0.113.1-203.0.113.9", "container=demo", "account=demoaccount"):
        assert field in answer.sas_token.split("&")
    assert answer.connector == "azure-blob-demo"
    assert answer.credential_version == 1
    assert stocked.cloud.signed_ids[-1] == answer.lease_id


async def test_issue_token_is_backdated_and_lives_for_the_default(stocked: Broker) -> None:
    """Clocks may differ: a token begins before now, and ends after the default where no ttl is given."""
    before = time.time()
    answer = await stocked.tokens.IssueToken(
        IssueTokenRequest(resource_id="demo", permissions=[1]), metadata=bearer(CONSUMER_KEY)
    )
    after = time.time()
    assert before - 901 <= answer.start_time.seconds <= after - 899
    assert before + 899 <= answer.expire_time.seconds <= after + 901


async def test_even_an_admin_needs_a_grant(stocked: Broker) -> None:
    """Whoever runs the broker does not get at the data by that."""
    request = IssueTokenRequest(resource_id="demo", permissions=[1])
    refused = await failure(stocked.tokens.IssueToken(request, metadata=bearer(ADMIN_KEY)))
    assert refused.reason == "RESOURCE_DENIED"
    await stocked.allow("key:admin", name="admins")
    answer = await stocked.tokens.IssueToken(request, metadata=bearer(ADMIN_KEY))
    assert (answer.resource.resource_id, answer.grant) == ("az://demo", "admins")


async def test_api_keys_are_admitted_used_listed_and_revoked(stocked: Broker) -> None:
    """A key works from the answer on, is listed without its hash, and is refused once revoked."""
    created = await stocked.api_keys.CreateApiKey(
        keys.CreateApiKeyRequest(
            name="new-trainer",
            expire_time=in_an_hour(),
            key_sha256=hashlib.sha256(NEW_KEY.encode()).digest(),
        ),
        metadata=bearer(ADMIN_KEY),
    )
    assert created.api_key.meta.created_by == "key:admin"
    await stocked.allow("key:new-trainer", name="new")
    request = IssueTokenRequest(resource_id="demo", permissions=[1])
    await stocked.tokens.IssueToken(request, metadata=bearer(NEW_KEY))
    listed = await stocked.api_keys.ListApiKeys(keys.ListApiKeysRequest(), metadata=bearer(ADMIN_KEY))
    assert [key.name for key in listed.api_keys] == ["admin", "auditor", "eyes", "new-trainer", "ops", "trainer"]
    assert hashlib.sha256(NEW_KEY.encode()).digest() not in listed.SerializeToString()
    await stocked.api_keys.RevokeApiKey(keys.RevokeApiKeyRequest(name="new-trainer"), metadata=bearer(ADMIN_KEY))
    refused = await failure(stocked.tokens.IssueToken(request, metadata=bearer(NEW_KEY)))
    assert refused.reason == "CREDENTIALS_INVALID"


async def test_list_resources_says_what_is_reached(stocked: Broker) -> None:
    """The viewer's table: connector, its identity and type, its resources."""
    answer = await stocked.resources.ListResources(
        resource_service_pb2.ListResourcesRequest(resource_type=1), metadata=bearer(VIEWER_KEY)
    )
    (row,) = answer.connectors
    assert (row.connector, row.connector_type, row.resource_type) == ("azure-blob-demo", 1, 1)
    assert [resource.url for resource in row.resources] == ["https://demoaccount.blob.invalid/demo"]
    assert not row.HasField("error")
    assert uuid.UUID(row.connector_uid)


async def test_state_of_an_earlier_broker_is_taken_over(tmp_path: Path) -> None:
    """A broker that starts on a filled store serves from it, and a second one sees the first one's changes."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with running_broker(tmp_path / "one") as one:
        await one.ready()
        async with running_broker(tmp_path / "two", store=one.store, cloud=one.cloud) as two:
            await two.ready()
            await one.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
            await one.allow()
            await eventually(lambda: "training" in two.core.memory.grants)
            request = IssueTokenRequest(resource_id="demo", permissions=[1])
            answer = await two.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
    assert answer.connector == "azure-blob-demo"
