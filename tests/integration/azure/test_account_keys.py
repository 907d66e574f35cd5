"""A storage account's key, from the request that registers it to the blob that a token of it moved, on real Azurite."""

from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import BlobClient
from google.protobuf.duration_pb2 import Duration

from support.azure_stack import LOGS, ML, AzureStack
from support.captured_log import captured_log
from support.inproc import CONSUMER_KEY, OPERATOR_KEY, bearer, new_connector, running_broker
from support.leaks import found_in
from valetkey.v1 import common_pb2, connector_service_pb2, token_service_pb2
from valetkey_broker.model import EventFilter

OWN = "demo-datasets"
LIFE = 12 * 3600


def _secret(azure: AzureStack, method: str) -> dict[str, str]:
    key = azure.azurite.accounts[ML].reveal()
    if method == "account-key":
        return {"account_key": key}
    if method == "connection-string":
        endpoint = azure.profile.blob_url(ML)
        return {"connection_string": f"AccountName={ML};AccountKey={key};BlobEndpoint={endpoint}/"}
    return {"connection_string": "UseDevelopmentStorage=true"}


@pytest.mark.parametrize("method", ["account-key", "connection-string", "development-storage"])
async def test_a_key_becomes_tokens_and_stays_where_it_is(azure: AzureStack, tmp_path: Path, method: str) -> None:
    """Registered, described, issued for a container and for one blob, used; neither log, ledger nor answers hold it."""
    profile, account, container = azure.profile, ML, OWN
    if method == "development-storage":
        account, container = "devstoreaccount1", "demo-development"
        await azure.azurite.create_containers(account, [container])
    clouds = {
        "dev": {
            "authority": profile.authority,
            "arm_endpoint": profile.arm_endpoint,
            "blob_endpoint": profile.blob_endpoint,
            "ca_file": profile.ca_file,
            "correlation_id": False,
            "emulator": True,
        }
    }
    cloud: Any = azure.cloud
    given = {"storage_account": ML} if method == "account-key" else {}
    request = new_connector(resource_id="", tenant_id="", client_id="", **given)
    request.auth_method = (
        connector_service_pb2.AUTH_METHOD_ACCOUNT_KEY
        if method == "account-key"
        else connector_service_pb2.AUTH_METHOD_CONNECTION_STRING
    )
    request.azure_secret.CopyFrom(connector_service_pb2.AzureSecret(**_secret(azure, method)))
    with captured_log("debug") as log:
        async with running_broker(tmp_path, cloud=cloud, clouds=clouds) as broker:
            await broker.ready()
            created = await broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY))
            assert f"az://{container}" in [resource.resource_id for resource in created.resources]
            assert created.connector.azure.storage_account == account
            await broker.allow(containers=[container])
            tokens = [
                await broker.tokens.IssueToken(
                    token_service_pb2.IssueTokenRequest(
                        resource_id=resource,
                        permissions=(common_pb2.PERMISSION_WRITE, common_pb2.PERMISSION_CREATE),
                        ttl=Duration(seconds=LIFE),
                    ),
                    metadata=bearer(CONSUMER_KEY),
                )
                for resource in (f"az://{container}", f"az://{container}/models/one.bin")
            ]
            events = await broker.core.ledger.events(EventFilter())
    for token in tokens:
        assert token.expire_time.seconds - token.start_time.seconds >= LIFE  # no key of hours cuts it short
        assert not token.ttl_limited_by
        await _write(azure, account, container, "models/one.bin", token.sas_token)
    for name in ("models/two.bin", "models/one.bin2"):
        with pytest.raises(HttpResponseError):
            await _write(azure, account, container, name, tokens[1].sas_token)
    with pytest.raises(HttpResponseError):
        await _write(azure, LOGS, "demo-logs", "models/one.bin", tokens[0].sas_token)
    shown = log.text + repr(events) + repr(created) + repr(tokens)
    assert "token-issued" in shown or "TOKEN_ISSUED" in shown
    assert found_in(shown, {"key": azure.azurite.accounts[account].reveal()}) == set()


async def _write(azure: AzureStack, account: str, container: str, name: str, token: str) -> None:
    async with BlobClient(
        azure.profile.blob_url(account),
        container,
        name,
        credential=token,
        transport=AioHttpTransport(use_env_settings=False, connection_verify=azure.profile.ca_file),
        retry_total=0,
    ) as client:
        await client.upload_blob(b"weights", overwrite=True)
