"""The dev stack as a whole: its parts fit together, it shares a machine with others, and it leaves nothing."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.children import start
from support.cloud_containers import all_containers
from support.stack import RunningStack, running_stack
from valetkey_broker.adapters.azure import AzureCloud
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.adapters.vault import VaultStateStore
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.model import BLOB_CONTAINER, AzureConfig, Connector, ConnectorType, Credential
from valetkey_broker.settings import load_settings
from valetkey_devstack.free_ports import is_free
from valetkey_devstack.stack import CLOUD, DEMO_CONTAINERS, DevStack, Ports

pytestmark = pytest.mark.xdist_group("dev-stack")
_UNTIL_KILLED = """
import asyncio, pathlib, sys
from valetkey_devstack.stack import DevStack

async def main():
    async with DevStack(pathlib.Path(sys.argv[1])):
        print("up", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def _processes_of(directory: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            named = entry.name.isdecimal() and str(directory) in (entry / "cmdline").read_text(errors="replace")
        except OSError:
            continue
        if named:
            found.append(int(entry.name))
    return found


async def _reached(stack: DevStack) -> list[str]:
    """Returns the containers that the stack's service principal reaches, as the broker would find them."""
    settings = load_settings(stack.settings_file)
    connector = Connector(
        name="demo",
        uid="00000000-0000-0000-0000-000000000001",
        type=ConnectorType.AZURE,
        auth_method="service-principal",
        resource_type=BLOB_CONTAINER,
        resource=None,
        azure=AzureConfig(stack.tenant_id, stack.client_id, settings.default_cloud, "", "", ""),
        credential_version=1,
        created_at=datetime.now(tz=UTC),
        created_by="test",
    )
    cloud = AzureCloud(settings.profiles())
    try:
        found = await all_containers(cloud, connector, Credential(1, ClientSecret(stack.client_secret)))
    finally:
        await cloud.close()
    return [f"{container.account}/{container.name}" for container in found]


async def test_settings_lead_the_broker_to_every_part(dev_stack: RunningStack) -> None:
    """With the written settings the real adapters log in to OpenBao, Entra and ARM and see Azurite's containers."""
    stack = dev_stack.stack
    settings = load_settings(stack.settings_file)
    assert settings.default_cloud == CLOUD
    assert settings.server.port == stack.ports.broker
    store = VaultStateStore(settings.vault)
    try:
        await store.open()
        assert await store.newest("connectors/azure-blob-demo") == 0
    finally:
        await store.close()
    demo = [f"{account}/{name}" for account, names in DEMO_CONTAINERS.items() for name in names]
    assert await _reached(stack) == sorted(demo)


def test_is_up_in_time(dev_stack: RunningStack) -> None:
    """The stack is up in seconds, whatever else the machine does: a part that is waited for in vain takes minutes."""
    assert 0 < dev_stack.stack.seconds < 100


def test_only_the_owner_looks_in(dev_stack: RunningStack) -> None:
    """Other users of the machine see no key, secret id or data: each directory and file is closed or below one."""
    directory = dev_stack.stack.directory
    assert directory.stat().st_mode & 0o077 == 0
    secrets = [*directory.rglob("*.key"), *directory.rglob("*_id"), dev_stack.stack.settings_file]
    assert len(secrets) >= 6
    assert [path for path in secrets if path.stat().st_mode & 0o077] == []


def test_client_secret_is_in_no_file_and_no_argument(dev_stack: RunningStack) -> None:
    """The service principal's secret is in memory only, until the user hands it to the broker."""
    stack = dev_stack.stack
    secret = stack.client_secret.reveal()
    children = [stack.azurite.pid, *_processes_of(stack.directory)]
    seen = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
    seen += [path.read_bytes() for path in stack.directory.rglob("*") if path.is_file()]
    assert not any(secret.encode() in content for content in seen)


async def test_two_side_by_side(dev_stack: RunningStack, tmp_path: Path) -> None:
    """Two stacks share a machine: ports of their own, data of their own, and the end of one leaves the other."""
    async with DevStack(tmp_path) as second:
        first = dev_stack.stack
        await second.azurite.create_containers("demologs", ["only-here"])
        assert "demologs/only-here" in await _reached(second)
        assert "demologs/only-here" not in await _reached(first)
        assert not {first.ports.azurite, first.ports.openbao} & {second.ports.azurite, second.ports.openbao}
    assert await asyncio.to_thread(_processes_of, tmp_path) == []
    assert await _reached(first)


async def test_second_one_in_the_same_directory_is_refused(dev_stack: RunningStack) -> None:
    """A second start does not pull the files from under a running stack."""
    with pytest.raises(ConfigurationError, match="another dev stack is running there"):
        await DevStack(dev_stack.stack.directory).start()
    assert await _reached(dev_stack.stack)


async def test_start_that_fails_ends_what_had_come_up(tmp_path: Path) -> None:
    """When one part cannot start, the others are ended and the error is that part's own, not a bundle."""
    azurite = tmp_path / "azurite"
    azurite.mkdir()
    (azurite / "__azurite_db_blob__.json").write_text("not a database")
    stack = DevStack(tmp_path)
    with pytest.raises(ConfigurationError, match=r"Azurite ended .* before it was ready"):
        await stack.start()
    assert await asyncio.to_thread(_processes_of, tmp_path) == []
    assert all(map(is_free, (stack.ports.azurite, stack.ports.openbao, stack.ports.control_plane)))
    await stack.stop()


async def test_port_that_is_taken_is_named(dev_stack: RunningStack, tmp_path: Path) -> None:
    """A chosen port that is in use, or chosen twice, is told before anything starts."""
    taken = dev_stack.stack.ports.openbao
    with pytest.raises(ConfigurationError, match=rf"port {taken} \(azurite\) is in use"):
        await DevStack(tmp_path, ports=Ports(azurite=taken)).start()
    with pytest.raises(ConfigurationError, match="same port"):
        await DevStack(tmp_path, ports=Ports(azurite=20_001, openbao=20_001)).start()


async def test_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A wrong directory gives its name and the reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file/stack: cannot be used: Not a directory"):
        await DevStack(tmp_path / "file" / "stack").start()


def test_storage_goes_away_and_comes_back(tmp_path: Path) -> None:
    """Fault tests may stop a part from outside of the stack's loop and start it again, data and all."""
    with running_stack(tmp_path) as running:
        azurite = running.stack.azurite
        running.call(azurite.stop())
        assert is_free(azurite.port)
        running.call(azurite.start())
        assert running.call(_reached(running.stack))


@pytest.fixture
def stack_process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs a stack in `tmp_path` and says "up"."""
    with start([sys.executable, "-c", _UNTIL_KILLED, tmp_path], stdout=subprocess.PIPE, text=True) as it:
        yield it
        it.kill()


def test_killed_stack_leaves_no_orphan(stack_process: subprocess.Popen[str], tmp_path: Path) -> None:
    """After `kill -9` of the dev stack no server of it is left."""
    assert stack_process.stdout is not None
    assert stack_process.stdout.readline() == "up\n"
    assert len(_processes_of(tmp_path)) == 3
    stack_process.kill()
    stack_process.wait()
    deadline = time.monotonic() + 30
    while _processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _processes_of(tmp_path) == []
