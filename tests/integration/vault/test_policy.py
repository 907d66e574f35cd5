"""The broker's policy, as it is shipped, on a real OpenBao: its own paths, and nothing else."""

import time
from collections.abc import AsyncIterator, Iterator

import hvac
import pytest
import pytest_asyncio
from hvac import exceptions

from support.openbao import running_openbao
from valetkey_broker.adapters.vault import broker_policy
from valetkey_broker.adapters.vault.broker_policy import lacking, needed
from valetkey_devstack.openbao import ROLE, OpenBao

pytestmark = pytest.mark.xdist_group("openbao-policy")


def until_ready(admin: hvac.Client, mount: str) -> None:
    """Waits for a new engine, which the server makes ready in the background; it refuses meanwhile."""
    deadline = time.monotonic() + 60
    while True:
        try:
            admin.secrets.kv.v2.configure(max_versions=10, mount_point=mount)
        except exceptions.InvalidRequest as error:
            if "Upgrading" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bao(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenBao]:
    """A server that also holds what is none of the broker's business."""
    async with running_openbao(tmp_path_factory.mktemp("policy")) as server:
        admin = server.admin()
        admin.sys.enable_secrets_engine("kv", path="payroll", options={"version": "2"})
        until_ready(admin, "payroll")
        for mount, path in [
            ("payroll", "salaries"),
            ("payroll", "connectors/one"),
            ("valetkey", "other"),
            ("valetkey", "generation/below"),
            ("valetkey", "connectors-of-others/one"),
            ("valetkey", "connectors/one"),
            ("valetkey", "credentials/one"),
            ("valetkey", "api-keys/one"),
            ("valetkey", "secrets/one"),
            ("valetkey", "secrets-of-others/one"),
            ("valetkey", "shared-credentials/one"),
            ("valetkey", "grants/one"),
            ("valetkey", "grants-of-others/one"),
            ("valetkey", "generation"),
        ]:
            admin.secrets.kv.v2.create_or_update_secret(path, {"a": 1}, cas=0, mount_point=mount)
        admin.adapter.close()
        yield server


@pytest.fixture
def broker(bao: OpenBao) -> Iterator[hvac.Client]:
    """A client logged in as the broker is, by its files and under its policy."""
    client = bao.admin()
    client.token = ""
    client.auth.approle.login(bao.role_id_file.read_text().strip(), bao.secret_id_file.read_text().strip())
    yield client
    client.adapter.close()


@pytest.mark.parametrize("folder", ["connectors", "credentials", "shared-credentials", "api-keys"])
def test_documents_of_the_broker(broker: hvac.Client, folder: str) -> None:
    """The broker can do with its own documents all that the state store does."""
    kv, path = broker.secrets.kv.v2, f"{folder}/mine"
    kv.create_or_update_secret(path, {"a": 1}, cas=0, mount_point="valetkey")
    kv.create_or_update_secret(path, {"a": 2}, cas=1, mount_point="valetkey")
    answer = kv.read_secret_version(path, version=1, mount_point="valetkey", raise_on_deleted_version=True)
    assert answer["data"]["data"] == {"a": 1}
    assert kv.read_secret_metadata(path, mount_point="valetkey")["data"]["current_version"] == 2
    assert "mine" in kv.list_secrets(folder, mount_point="valetkey")["data"]["keys"]
    kv.destroy_secret_versions(path, [1, 2], mount_point="valetkey")


@pytest.mark.parametrize(("folder", "name"), [("grants", "mine"), ("secrets", "az_secret")])
def test_what_the_broker_only_marks(broker: hvac.Client, folder: str, name: str) -> None:
    """The broker reads, lists and writes grants and named secrets; deleted ones are marked: it need destroy none."""
    kv, path = broker.secrets.kv.v2, f"{folder}/{name}"
    kv.create_or_update_secret(path, {"a": 1}, cas=0, mount_point="valetkey")
    kv.create_or_update_secret(path, {"a": 2}, cas=1, mount_point="valetkey")
    answer = kv.read_secret_version(path, mount_point="valetkey", raise_on_deleted_version=True)
    assert answer["data"]["data"] == {"a": 2}
    assert kv.read_secret_metadata(path, mount_point="valetkey")["data"]["current_version"] == 2
    assert name in kv.list_secrets(folder, mount_point="valetkey")["data"]["keys"]


def test_what_the_broker_looks_at_when_it_starts(broker: hvac.Client) -> None:
    """The broker may see what its policy lets it do, all that it needs, and how the engine is set up."""
    granted = broker.sys.get_capabilities(list(needed("valetkey")))
    assert lacking("valetkey", granted["data"]) == {}
    assert broker.secrets.kv.v2.read_configuration(mount_point="valetkey")["data"]["cas_required"] is True


def test_generation_and_own_token(broker: hvac.Client) -> None:
    """The broker can count changes, keep its login alive and give it back."""
    kv = broker.secrets.kv.v2
    assert kv.create_or_update_secret("generation", {"n": 2}, cas=1, mount_point="valetkey")
    assert kv.read_secret_metadata("generation", mount_point="valetkey")
    assert broker.auth.token.renew_self()["auth"]["policies"] == [ROLE]
    broker.auth.token.revoke_self()
    with pytest.raises(exceptions.Forbidden):
        broker.auth.token.renew_self()


REFUSED = [
    # Another engine, and other secrets of the broker's own engine, neighbours by prefix among them.
    ("GET", "payroll/data/salaries", None),
    ("GET", "payroll/data/connectors/one", None),
    ("LIST", "payroll/metadata", None),
    ("GET", "valetkey/data/other", None),
    ("GET", "valetkey/metadata/other", None),
    ("POST", "valetkey/data/other", {"options": {"cas": 1}, "data": {"a": 2}}),
    ("POST", "valetkey/data/new", {"options": {"cas": 0}, "data": {"a": 2}}),
    ("GET", "valetkey/data/connectors-of-others/one", None),
    ("GET", "valetkey/data/grants-of-others/one", None),
    ("GET", "valetkey/data/secrets-of-others/one", None),
    ("GET", "valetkey/data/generation/below", None),
    ("GET", "valetkey/data/connectors/%2e%2e/other", None),
    ("LIST", "valetkey/metadata", None),
    ("LIST", "valetkey/metadata/connectors-of-others", None),
    # Its own documents, in ways it does not need: hiding, un-hiding, forgetting version numbers, lifting the rules.
    ("DELETE", "valetkey/data/connectors/one", None),
    ("POST", "valetkey/delete/connectors/one", {"versions": [1]}),
    ("POST", "valetkey/undelete/connectors/one", {"versions": [1]}),
    ("DELETE", "valetkey/metadata/credentials/one", None),
    ("POST", "valetkey/metadata/credentials/one", {"cas_required": False}),
    ("DELETE", "valetkey/data/grants/one", None),
    ("DELETE", "valetkey/metadata/grants/one", None),
    ("POST", "valetkey/destroy/grants/one", {"versions": [1]}),
    ("POST", "valetkey/destroy/secrets/one", {"versions": [1]}),
    ("DELETE", "valetkey/metadata/shared-credentials/one", None),
    ("POST", "valetkey/destroy/generation", {"versions": [1]}),
    ("POST", "valetkey/destroy/other", {"versions": [1]}),
    ("POST", "valetkey/config", {"cas_required": False}),
    # More rights: tokens, its own role, its own policy.
    ("POST", "auth/token/create", {"policies": [ROLE]}),
    ("POST", "auth/token/create-orphan", {}),
    ("LIST", "auth/token/accessors", None),
    ("GET", f"auth/approle/role/{ROLE}", None),
    ("GET", f"auth/approle/role/{ROLE}/role-id", None),
    ("POST", f"auth/approle/role/{ROLE}/secret-id", {}),
    ("POST", f"auth/approle/role/{ROLE}", {"token_policies": ["root"]}),
    ("GET", f"sys/policies/acl/{ROLE}", None),
    ("PUT", f"sys/policies/acl/{ROLE}", {"policy": 'path "*" { capabilities = ["read"] }'}),
    # The server itself, and what the default policy would have given.
    ("GET", "sys/mounts", None),
    ("GET", "sys/auth", None),
    ("PUT", "sys/seal", {}),
    ("POST", "sys/mounts/mine", {"type": "kv"}),
    ("GET", "sys/storage/raft/snapshot", None),
    ("POST", "cubbyhole/mine", {"a": 1}),
    ("POST", "sys/wrapping/wrap", {"a": 1}),
]


@pytest.mark.parametrize(("method", "path", "body"), REFUSED, ids=[f"{method} {path}" for method, path, _ in REFUSED])
def test_everything_else_is_refused(
    broker: hvac.Client, method: str, path: str, body: dict[str, object] | None
) -> None:
    """A broker that was taken over cannot read, change or become anything outside of its own paths."""
    with pytest.raises(exceptions.Forbidden, match="permission denied"):
        broker.adapter.request(method, f"/v1/{path}", json=body)


def test_the_secrets_it_cannot_read_are_there(bao: OpenBao) -> None:
    """The refusals mean something: with more rights, the same requests answer."""
    admin = bao.admin()
    for method, path, _ in REFUSED:
        # A snapshot is a stream, not a document.
        if method in ("GET", "LIST") and "%2e" not in path and "snapshot" not in path:
            assert admin.adapter.request(method, f"/v1/{path}"), path
    admin.adapter.close()


def test_policy_for_another_mount() -> None:
    """With an engine mounted elsewhere, no path of the standard mount is left in the policy."""
    text = broker_policy("team-a")
    assert 'path "valetkey/' not in text
    assert text.count('path "team-a/') == broker_policy().count('path "valetkey/') > 0
    assert 'path "auth/token/renew-self"' in text
