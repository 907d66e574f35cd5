"""Rights on one container, and Storage Blob Delegator on its account, are enough: what docs/azure.md promises."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import ContainerClient
from google.protobuf.duration_pb2 import Duration

from support.azure_stack import CLIENT, ML, PLANTED, TENANT, AzureStack
from support.fault_proxy import lists_containers
from support.inproc import CONSUMER_KEY, OPERATOR_KEY, bearer, new_connector, running_broker
from valetkey.v1 import common_pb2, connector_service_pb2, token_service_pb2

OWN, OTHER = "demo-zenmlartifactstore", "demo-datasets"


def _narrow(azure: AzureStack) -> None:
    """Refuses what somebody with rights on one container is refused: listing, ARM, and every other container."""
    no = (403, "AuthorizationPermissionMismatch")
    azure.proxy.refuse(lists_containers(ML), *no)

    def another(request: web.Request) -> bool:
        account, _, rest = request.path.strip("/").partition("/")
        return account == ML and rest != "" and rest.partition("/")[0] != OWN

    azure.proxy.refuse(another, *no)


@pytest.mark.parametrize("named_by", ["url", "account"])
async def test_registering_issuing_and_using_list_nothing(azure: AzureStack, tmp_path: Path, named_by: str) -> None:
    """With a full URL, or the account beside the container, nothing is listed and Resource Manager is not asked."""
    _narrow(azure)
    profile = azure.profile
    clouds = {
        "dev": {
            "authority": profile.authority,
            "arm_endpoint": profile.arm_endpoint,
            "blob_endpoint": profile.blob_endpoint,
            "ca_file": profile.ca_file,
            "correlation_id": False,
        }
    }
    cloud: Any = azure.cloud
    url = profile.container_url(ML, OWN)
    request = new_connector(resource_id=url, tenant_id=TENANT, client_id=CLIENT)
    if named_by == "account":
        request = new_connector(resource_id=f"az://{OWN}", tenant_id=TENANT, client_id=CLIENT, storage_account=ML)
    request.azure_secret.client_secret = PLANTED.reveal()
    async with running_broker(tmp_path, cloud=cloud, clouds=clouds) as broker:
        await broker.ready()
        created = await broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY))
        assert [resource.url for resource in created.resources] == [url]
        await broker.allow(containers=[OWN])
        verified = await broker.connectors.VerifyConnector(
            connector_service_pb2.VerifyConnectorRequest(name="azure-blob-demo"), metadata=bearer(OPERATOR_KEY)
        )
        assert not verified.account_errors
        token = await broker.tokens.IssueToken(
            token_service_pb2.IssueTokenRequest(
                resource_id=url,
                permissions=(common_pb2.PERMISSION_WRITE, common_pb2.PERMISSION_CREATE, common_pb2.PERMISSION_READ),
                ttl=Duration(seconds=900),
            ),
            metadata=bearer(CONSUMER_KEY),
        )
    async with ContainerClient(
        profile.blob_url(ML),
        OWN,
        credential=token.sas_token,
        transport=AioHttpTransport(use_env_settings=False, connection_verify=profile.ca_file),
        retry_total=0,
    ) as client:
        blob = await client.upload_blob(f"by-{named_by}", b"weights", overwrite=True)
        assert await (await blob.download_blob()).readall() == b"weights"
    assert azure.proxy.seen["GET userdelegationkey"] + azure.proxy.seen["POST userdelegationkey"] >= 1
    # Registering and verifying look up the account's settings, where they may; nothing else is asked of ARM.
    assert azure.control_plane.requests["arm"] <= 4
