"""The connections to a cloud: through the proxy of its profile, and verified by the CAs as their file has them now."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from support.azure_stack import AzureStack, make_connector, make_credential
from support.cloud_containers import all_containers
from support.connect_proxy import ConnectProxy
from valetkey_broker.adapters.azure import AzureCloud
from valetkey_broker.errors import BrokerError, Reason
from valetkey_devstack.ca import make_ca


@pytest.fixture
async def proxy() -> AsyncIterator[ConnectProxy]:
    async with ConnectProxy().running() as running:
        yield running


@asynccontextmanager
async def cloud_with(azure: AzureStack, **changes: str) -> AsyncIterator[AzureCloud]:
    """Gives an adapter of its own, for the same cloud with changes to its profile."""
    cloud = AzureCloud({"dev": replace(azure.profile, **changes)}, connect_seconds=30.0, read_seconds=30.0)
    try:
        yield cloud
    finally:
        await cloud.close()


async def reason_of(cloud: AzureCloud) -> str:
    """Logs in and lists; returns what became of it."""
    try:
        await cloud.log_in(make_connector(), make_credential())
        await all_containers(cloud, make_connector(), make_credential())
    except BrokerError as error:
        return f"{error.reason.name}: {error.message}; callers read: {error.public().message}"
    return "done"


async def settled(cloud: AzureCloud, wanted: Callable[[str], bool], seconds: float = 60.0) -> None:
    """Tries until the outcome is the wanted one."""
    deadline = time.monotonic() + seconds
    while not wanted(found := await reason_of(cloud)):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.2)


async def test_everything_goes_through_the_proxy(azure: AzureStack, proxy: ConnectProxy) -> None:
    """Entra, ARM and storage are all reached through the one proxy, which sees their names and nothing else."""
    async with cloud_with(azure, proxy=proxy.url) as cloud:
        assert await reason_of(cloud) == "done"
    hosts = {azure.control_plane.url.removeprefix("https://"), azure.proxy.url.removeprefix("https://")}
    assert set(proxy.asked) == {f"CONNECT {host}" for host in hosts}


async def test_proxies_of_the_environment_are_not_used(
    azure: AzureStack, proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that other programs need does not lead the broker's log-ins elsewhere."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    async with cloud_with(azure) as cloud:
        assert await reason_of(cloud) == "done"
    assert proxy.asked == []


async def test_proxy_that_refuses_or_is_away(azure: AzureStack, proxy: ConnectProxy) -> None:
    """A proxy that does not let the broker through is an outage, not a wrong credential."""
    proxy.refuse = True
    for url in (proxy.url, "http://127.0.0.1:9"):
        async with cloud_with(azure, proxy=url) as cloud:
            found = await reason_of(cloud)
        assert found.startswith(Reason.CLOUD_UNAVAILABLE.name)
        all_of_it, for_callers = found.split("; callers read: ")
        assert "the proxy of the cloud profile is away, or does not let the broker through" in all_of_it
        assert for_callers == "Cannot log in to Entra: the connection failed; tell those who run the broker."


async def test_cas_change_without_a_restart(azure: AzureStack, tmp_path: Path) -> None:
    """A CA put into the profile's file counts within a second or two, and one taken out no more."""
    own = tmp_path / "own.pem"
    shutil.copy(azure.azurite.ca_file, own)
    async with cloud_with(azure, ca_file=str(own)) as cloud:
        assert await reason_of(cloud) == "done"
        shutil.copy(make_ca(tmp_path).ca_file, own)
        await settled(cloud, lambda found: "TLS certificate is not trusted" in found)
        own.write_bytes(azure.azurite.ca_file.read_bytes()[:-40])
        await asyncio.sleep(1.5)
        assert "TLS certificate is not trusted" in await reason_of(cloud)
        shutil.copy(azure.azurite.ca_file, own)
        await settled(cloud, lambda found: found == "done")
        own.unlink()
        await asyncio.sleep(1.5)
        assert await reason_of(cloud) == "done"


async def test_ca_file_that_was_never_good(azure: AzureStack, tmp_path: Path) -> None:
    """A CA file that vanished before it was first needed is an error of the cloud, not of the broker."""
    async with cloud_with(azure, ca_file=str(tmp_path / "missing")) as cloud:
        assert (await reason_of(cloud)).startswith(Reason.CLOUD_UNAVAILABLE.name)
