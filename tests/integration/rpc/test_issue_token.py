"""IssueToken over the wire, with fakes behind the ports."""

import re
from pathlib import Path

import grpc.aio
import pytest

from support.inproc import CONSUMER_KEY, OPERATOR_KEY, VIEWER_KEY, Broker, bearer, new_connector, running_broker
from valetkey.v1 import common_pb2, connector_service_pb2, errors_pb2, token_service_pb2
from valetkey_broker.errors import Reason, cloud_error

READ_LIST = (common_pb2.PERMISSION_READ, common_pb2.PERMISSION_LIST)


async def test_consumer_gets_a_token_for_its_container(tmp_path: Path) -> None:
    """Protects the main job: register, issue, and what the token says."""
    async with running_broker(tmp_path) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow()
        request = token_service_pb2.IssueTokenRequest(resource_id="az://demo", permissions=READ_LIST)
        response = await broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
    assert "sp=rl" in response.sas_token
    assert response.resource.url == "https://demoaccount.blob.invalid/demo"
    assert response.expire_time.seconds - response.start_time.seconds == 1800
    assert re.fullmatch(r"[0-9a-f-]{36}", response.lease_id)


async def test_operators_see_that_a_credential_is_refused(stocked: Broker) -> None:
    """A consumer hears that those who run the broker can mend it; these see in the list which, why, and with what."""
    stocked.cloud.fail("signing_key", cloud_error(Reason.CLOUD_CREDENTIAL_REJECTED, "expired", step="x", connector="y"))
    request = token_service_pb2.IssueTokenRequest(resource_id="az://demo", permissions=READ_LIST)
    with pytest.raises(grpc.aio.AioRpcError):
        await stocked.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
    listing = connector_service_pb2.ListConnectorsRequest()
    (listed,) = (await stocked.connectors.ListConnectors(listing, metadata=bearer(VIEWER_KEY))).connectors
    health = listed.health
    assert (health.healthy, health.message) == (False, "expired")
    assert errors_pb2.ErrorReason.Name(health.reason) == "ERROR_REASON_CLOUD_CREDENTIAL_REJECTED"
    assert health.mend == "valetkey service-connector update azure-blob-demo --client-secret @FILE"
    stocked.cloud.heal()
    verify = connector_service_pb2.VerifyConnectorRequest(name="azure-blob-demo")
    await stocked.connectors.VerifyConnector(verify, metadata=bearer(OPERATOR_KEY))
    get = connector_service_pb2.GetConnectorRequest(name="azure-blob-demo")
    assert (await stocked.connectors.GetConnector(get, metadata=bearer(VIEWER_KEY))).connector.health.healthy
