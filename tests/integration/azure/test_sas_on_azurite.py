"""A signed SAS, used as its receiver uses it: over azure-storage-blob, against the real Azurite."""

import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import replace

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import ContainerClient

from support.azure_stack import (
    LOGS,
    ML,
    AzureStack,
    make_connector,
    make_credential,
)
from support.cloud_containers import container_scope
from valetkey_broker.adapters.azure.sas import user_delegation_signer
from valetkey_broker.model import Container, Permission, PermissionSet, SasRequest, Scope

OPEN, OTHER = "demo-zenmlartifactstore", "demo-datasets"
REFUSED = (ClientAuthenticationError, HttpResponseError)


def _sas(azure: AzureStack, request: SasRequest) -> str:
    (signed,) = azure.cloud.sign(request, ["lease-1"])
    return signed.sas_token


async def _request(azure: AzureStack, *permissions: Permission) -> SasRequest:
    now = int(time.time())
    key = await azure.cloud.signing_key(make_connector(), make_credential(), ML, starts=now - 900, expires=now + 3600)
    return SasRequest(
        azure.profile,
        container_scope(azure.profile, ML, OPEN),
        PermissionSet(permissions),
        now - 900,
        now + 600,
        "",
        key,
    )


@asynccontextmanager
async def _container(
    azure: AzureStack, sas: str, name: str = OPEN, account: str = ML
) -> AsyncIterator[ContainerClient]:
    async with ContainerClient(
        azure.profile.blob_url(account),
        name,
        credential=sas,
        transport=AioHttpTransport(use_env_settings=False, connection_verify=azure.profile.ca_file),
        retry_total=0,
    ) as client:
        yield client


async def _write(azure: AzureStack, blob: str) -> None:
    sas = _sas(azure, await _request(azure, Permission.CREATE, Permission.WRITE))
    async with _container(azure, sas) as client:
        await client.upload_blob(blob, b"weights", overwrite=True)


async def test_what_is_granted_works(azure: AzureStack) -> None:
    """Read and list on the container: the blob is listed and read back."""
    await _write(azure, "granted.bin")
    sas = _sas(azure, await _request(azure, Permission.READ, Permission.LIST))
    async with _container(azure, sas) as client:
        assert "granted.bin" in [blob.name async for blob in client.list_blobs()]
        assert await (await client.download_blob("granted.bin")).readall() == b"weights"


async def test_what_is_not_granted_is_refused(azure: AzureStack) -> None:
    """Read and list neither delete nor write."""
    await _write(azure, "kept.bin")
    sas = _sas(azure, await _request(azure, Permission.READ, Permission.LIST))
    async with _container(azure, sas) as client:
        with pytest.raises(REFUSED, match="AuthorizationPermissionMismatch"):
            await client.delete_blob("kept.bin")
        with pytest.raises(REFUSED, match="AuthorizationPermissionMismatch"):
            await client.upload_blob("new.bin", b"")
        assert await (await client.download_blob("kept.bin")).readall() == b"weights"


@pytest.mark.parametrize("path", ["models/one", "models", "a=1,b/!~(x)+y@z'_.bin"])
async def test_a_token_for_a_blob_is_for_that_blob(azure: AzureStack, path: str) -> None:
    """It writes and reads its blob; the blob beside it, one below it, and the list of both are refused."""
    request = await _request(azure, Permission.READ, Permission.CREATE, Permission.WRITE)
    container = Container(ML, OPEN, azure.profile.container_url(ML, OPEN))
    blob = replace(request, scope=Scope.of_path(container, path, directory=False))
    sas = _sas(azure, blob)
    async with _container(azure, sas) as client:
        await client.upload_blob(path, b"weights", overwrite=True)
        assert await (await client.download_blob(path)).readall() == b"weights"
        for other in (f"{path}-evil", f"{path}/below", path[:-1], "another"):
            with pytest.raises(REFUSED):
                await client.upload_blob(other, b"", overwrite=True)
        with pytest.raises(REFUSED):
            _ = [each async for each in client.list_blobs()]
    async with _container(azure, sas, OTHER) as client:
        with pytest.raises(REFUSED):
            await client.upload_blob(path, b"", overwrite=True)


async def test_another_container_is_refused(azure: AzureStack) -> None:
    """A token is for one container of one account, whatever URL it is put under."""
    sas = _sas(azure, await _request(azure, Permission.READ, Permission.LIST))
    for account, name in ((ML, OTHER), (LOGS, "demo-logs")):
        async with _container(azure, sas, name, account) as client:
            with pytest.raises(REFUSED):
                _ = [blob async for blob in client.list_blobs()]


async def test_an_expired_token_is_refused(azure: AzureStack) -> None:
    """The end of a token is held by the storage service itself."""
    request = await _request(azure, Permission.READ, Permission.LIST)
    now = int(time.time())
    expired = _sas(azure, replace(request, starts=now - 900, expires=now - 60))
    async with _container(azure, expired) as client:
        with pytest.raises(REFUSED, match="Server failed to authenticate"):
            _ = [blob async for blob in client.list_blobs()]


async def test_the_address_is_signed(azure: AzureStack) -> None:
    """`sip` is part of the signature: it is taken as signed and cannot be changed (Azurite does not hold it itself)."""
    request = replace(await _request(azure, Permission.LIST), source_ip="127.0.0.1")
    sas = _sas(azure, request)
    async with _container(azure, sas) as client:
        assert isinstance([blob async for blob in client.list_blobs()], list)
    async with _container(azure, sas.replace("sip=127.0.0.1", "sip=127.0.0.2")) as client:
        with pytest.raises(REFUSED, match="Server failed to authenticate"):
            _ = [blob async for blob in client.list_blobs()]


async def test_a_changed_token_is_refused(azure: AzureStack) -> None:
    """Each signed field is held by the signature: none can be widened afterwards."""
    sas = _sas(azure, await _request(azure, Permission.LIST))
    for was, becomes in (("sp=l", "sp=rwdl"), ("sr=c", "sr=b"), ("spr=https", "spr=https%2Chttp")):
        assert was in sas
        async with _container(azure, sas.replace(was, becomes)) as client:
            with pytest.raises(REFUSED):
                _ = [blob async for blob in client.list_blobs()]


async def test_a_token_of_a_withdrawn_key_is_not_accepted(azure: AzureStack) -> None:
    """Storage refuses what it does not know the key of, as after a revocation; that is told, not raised."""
    now = time.time()
    key = await azure.cloud.signing_key(make_connector(), make_credential(), ML, starts=now - 900, expires=now + 3600)
    container = Container(ML, OPEN, azure.profile.container_url(ML, OPEN))
    assert await azure.cloud.accepts(make_connector(), container, key)
    unknown = copy(key.material._sdk_arguments()["user_delegation_key"])
    unknown.value = base64.b64encode(b"of nobody's making, thirty-two b").decode()
    withdrawn = replace(key, material=user_delegation_signer(ML, unknown))
    assert not await azure.cloud.accepts(make_connector(), container, withdrawn)
