"""Service principals with a client certificate, from registering to a blob that a token moved."""

from pathlib import Path
from typing import Any

import pytest
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import ContainerClient

from support.azure_stack import CLIENT, ML, TENANT, AzureStack, make_connector
from support.entra_certificates import make_certificate
from support.inproc import CONSUMER_KEY, OPERATOR_KEY, Broker, bearer, new_connector, running_broker
from valetkey.v1 import connector_service_pb2 as pb
from valetkey.v1.token_service_pb2 import IssueTokenRequest
from valetkey_broker.adapters.azure.client_certificate import read_client_certificate
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Credential

OWN = "demo-zenmlartifactstore"


def clouds_of(azure: AzureStack) -> dict[str, Any]:
    """Returns the settings of the stack's cloud."""
    profile = azure.profile
    return {
        "dev": {
            "authority": profile.authority,
            "arm_endpoint": profile.arm_endpoint,
            "blob_endpoint": profile.blob_endpoint,
            "ca_file": profile.ca_file,
            "correlation_id": False,
        }
    }


async def move_a_blob(azure: AzureStack, broker: Broker, name: str) -> None:
    """Has a consumer get a token of the connector azure-blob-demo, and write and read with it."""
    await broker.allow(containers=[OWN])
    request = IssueTokenRequest(resource_id=azure.profile.container_url(ML, OWN), permissions=(1, 3, 4))
    token = await broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
    transport = AioHttpTransport(use_env_settings=False, connection_verify=azure.profile.ca_file)
    async with ContainerClient(
        azure.profile.blob_url(ML), OWN, credential=token.sas_token, transport=transport, retry_total=0
    ) as client:
        blob = await client.upload_blob(name, b"weights", overwrite=True)
        assert await (await blob.download_blob()).readall() == b"weights"


@pytest.mark.parametrize("kind", ["pem", "pfx"])
async def test_from_a_certificate_to_a_blob(azure: AzureStack, tmp_path: Path, kind: str) -> None:
    """A certificate of either form, ending tomorrow, registers with a warning, and its tokens move blobs."""
    certificate = make_certificate(days=(-1, 1))
    azure.control_plane.add_certificate(certificate.certificate)
    request = new_connector(storage_account=ML, tenant_id=TENANT, client_id=CLIENT, resource_id=f"az://{OWN}")
    request.azure_secret.Clear()
    request.azure_secret.client_certificate = getattr(certificate, kind)("opener")
    request.azure_secret.client_certificate_password = "opener"
    cloud: Any = azure.cloud
    async with running_broker(tmp_path, cloud=cloud, clouds=clouds_of(azure)) as broker:
        await broker.ready()
        created = await broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY))
        (warning,) = created.warnings
        assert f"{certificate.certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, in 1 day" in warning
        assert created.connector.expire_time.seconds == int(certificate.certificate.not_valid_after_utc.timestamp())
        verify = pb.VerifyConnectorRequest(name="azure-blob-demo")
        verified = await broker.connectors.VerifyConnector(verify, metadata=bearer(OPERATOR_KEY))
        assert [resource.resource_id for resource in verified.resources] == [f"az://{OWN}"]
        await move_a_blob(azure, broker, f"by-{kind}")
        stored = await broker.store.read("credentials/azure-blob-demo")
    assert stored is not None
    assert set(stored.data) == {"client_certificate", "change"}


async def test_a_certificate_that_entra_does_not_know(azure: AzureStack) -> None:
    """One that was never uploaded is refused by Entra, and the error says what to do about it."""
    value = read_client_certificate(make_certificate().pem(), "")
    with pytest.raises(BrokerError, match="Upload it to the application") as caught:
        await azure.cloud.log_in(make_connector(), Credential(0, value))
    assert caught.value.reason is Reason.CLOUD_CREDENTIAL_REJECTED
    assert caught.value.metadata["azure_code"] == "AADSTS700027"
