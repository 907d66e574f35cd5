"""IssueToken over the wire, with fakes behind the ports."""

import re
from pathlib import Path

from support.inproc import CONSUMER_KEY, OPERATOR_KEY, bearer, new_connector, running_broker
from valetkey.v1 import common_pb2, token_service_pb2

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
