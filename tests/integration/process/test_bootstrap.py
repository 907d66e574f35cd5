"""The first admin key: made once, shown once, kept nowhere; and what a broker's processes show of their secrets."""

import hashlib
import json
import re
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from hvac.exceptions import InvalidPath

from support.broker_process import run, serving, write_config
from support.fake_ledger import ledger_down
from support.inproc import bearer
from support.leaks import found_in
from support.ledgers import open_ledger
from valetkey.v1 import api_key_service_pb2 as pb
from valetkey.v1 import api_key_service_pb2_grpc
from valetkey_broker.cli.first_key import bootstrap
from valetkey_broker.errors import EXIT_CONFIGURATION, BrokerError, Reason
from valetkey_broker.ledger import SqlLedger
from valetkey_broker.model import Event, EventFilter, EventKind
from valetkey_broker.settings import load_settings
from valetkey_devstack.openbao import MOUNT, OpenBao

pytestmark = pytest.mark.xdist_group("openbao-process")


def stored_keys(bao: OpenBao) -> dict[str, dict[str, object]]:
    """Returns every API key as Vault holds it."""
    admin = bao.admin()
    kv = admin.secrets.kv.v2
    names = kv.list_secrets("api-keys", mount_point=MOUNT)["data"]["keys"]
    documents = {name: _read(kv, name) for name in names}
    admin.adapter.close()
    return documents


def _read(kv: Any, name: str) -> Any:
    return kv.read_secret_version(f"api-keys/{name}", mount_point=MOUNT, raise_on_deleted_version=True)["data"]["data"]


async def recorded(directory: Path) -> list[tuple[EventKind, str, str]]:
    """Returns kind, object and reason of what is on record; the two records of a call share a request id."""
    async with open_ledger(f"sqlite:///{directory / 'ledger.db'}") as ledger:
        events = [stored.event for stored in await ledger.events(EventFilter())]
    assert {event.principal for event in events} == {"bootstrap"}
    assert [event.request_id for event in events[::2]] == [event.request_id for event in events[1::2]]
    assert len({event.request_id for event in events}) == len(events) // 2
    return [(event.kind, event.object, event.reason) for event in events]


def shown_by(pids: list[int]) -> list[bytes]:
    """Returns command lines and environments, as other processes may read them."""
    return [Path(f"/proc/{pid}/{part}").read_bytes() for pid in pids for part in ("cmdline", "environ")]


async def test_key_is_printed_once_and_works(tmp_path: Path, bao: OpenBao) -> None:
    """Standard output is the key and nothing else; Vault has its hash; the key opens the broker; there is no second."""
    config = write_config(tmp_path, bao.settings(), logging={"level": "debug"})
    ran = run("bootstrap", "--config", config, installed=True)
    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(r"vk_[A-Za-z0-9_-]{43}\n", ran.stdout)
    key = ran.stdout.strip()
    assert "not shown again" in ran.stderr
    assert key not in ran.stderr
    assert await recorded(tmp_path) == [
        (EventKind.CHANGE_BEGUN, "api-keys/admin", ""),
        (EventKind.ADMIN_CHANGE, "api-keys/admin", ""),
    ]
    (document,) = stored_keys(bao).values()
    assert document["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    assert document["roles"] == ["admin"]
    assert key not in json.dumps(document)
    again = run("bootstrap", "--config", config, "--name", "another")
    assert again.returncode == 1
    assert again.stdout == ""
    assert "Error: the admin key admin exists already" in again.stderr
    assert "Traceback" not in again.stderr
    assert (await recorded(tmp_path))[2:] == [
        (EventKind.CHANGE_BEGUN, "api-keys/another", ""),
        (EventKind.CHANGE_FAILED, "api-keys/another", "API_KEY_EXISTS"),
    ]
    with serving(config) as broker:
        await broker.logged("serving")
        async with broker.channel() as channel:
            stub = api_key_service_pb2_grpc.ApiKeyServiceStub(channel)
            answer = await stub.ListApiKeys(pb.ListApiKeysRequest(), metadata=bearer(key))
    assert [known.name for known in answer.api_keys] == ["admin"]
    assert answer.api_keys[0].meta.created_by == "bootstrap"


async def test_key_goes_to_a_file(tmp_path: Path, bao: OpenBao) -> None:
    """`--out` makes a file that only its owner can read, and prints no key; name and life are as asked."""
    config = write_config(tmp_path, bao.settings())
    out = tmp_path / "admin.key"
    ran = run("bootstrap", "--config", config, "--out", out, "--name", "root-of-all", "--days", "1")
    assert ran.returncode == 0, ran.stderr
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    key = out.read_text()
    assert re.fullmatch(r"vk_[A-Za-z0-9_-]{43}\n", key)
    assert ran.stdout == ""
    assert str(out) in ran.stderr
    assert key.strip() not in ran.stderr
    assert list(stored_keys(bao)) == ["root-of-all"]
    second = tmp_path / "second.key"
    refused = run("bootstrap", "--config", config, "--out", second)
    assert refused.returncode == 1
    assert "exists already" in refused.stderr
    assert not second.exists()


class Breaking(SqlLedger):
    """Takes the first record, and no other."""

    taken = 0

    async def record(self, *events: Event) -> None:
        if self.taken:
            raise ledger_down()
        self.taken += 1
        await super().record(*events)


async def test_ledger_breaks_in_between(tmp_path: Path, bao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key whose making could not be recorded is shown to nobody, revoked, and in nobody's way the next time."""
    settings = load_settings(write_config(tmp_path, bao.settings()))
    with monkeypatch.context() as patched:
        patched.setattr("valetkey_broker.app.SqlLedger", Breaking)
        with pytest.raises(BrokerError, match="the key admin was made and revoked again") as caught:
            await bootstrap(settings, "admin", timedelta(days=1))
    assert caught.value.reason is Reason.LEDGER_UNAVAILABLE
    assert stored_keys(bao)["admin"]["deleted"]
    assert (await bootstrap(settings, "admin", timedelta(days=1))).startswith("vk_")
    async with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        kinds = [stored.event.kind for stored in await ledger.events(EventFilter())]
        assert kinds == [EventKind.CHANGE_BEGUN, EventKind.CHANGE_BEGUN, EventKind.ADMIN_CHANGE]
        (lost,) = await ledger.events(EventFilter(unfinished=True))
        assert lost.event.object == "api-keys/admin"


async def test_ledger_down_beforehand(tmp_path: Path, bao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a record that it begins, no key is made at all."""
    monkeypatch.setattr("valetkey_broker.app.SqlLedger", Breaking)
    monkeypatch.setattr(Breaking, "taken", 1)
    with pytest.raises(BrokerError, match="api-keys/admin was not changed"):
        await bootstrap(load_settings(write_config(tmp_path, bao.settings())), "admin", timedelta(days=1))
    with pytest.raises(InvalidPath):
        stored_keys(bao)


@pytest.mark.parametrize("where", ["exists", "no such directory", "dangling link"])
async def test_file_that_cannot_be_written(tmp_path: Path, bao: OpenBao, where: str) -> None:
    """A file that is there is never overwritten; and no key is made that could then be shown nowhere."""
    config = write_config(tmp_path, bao.settings())
    out = tmp_path / "admin.key"
    if where == "exists":
        out.write_text("precious")
    elif where == "dangling link":
        out.symlink_to(tmp_path / "elsewhere")
    else:
        out = tmp_path / "none" / "admin.key"
    ran = run("bootstrap", "--config", config, "--out", out)
    assert ran.returncode == EXIT_CONFIGURATION
    expected = "cannot be written: No such file" if where == "no such directory" else "exists already; expected a new"
    assert f"Error: {out}" in ran.stderr
    assert expected in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""
    assert where != "exists" or out.read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()
    made = run("bootstrap", "--config", config)
    assert made.returncode == 0, made.stderr


def test_vault_away(tmp_path: Path) -> None:
    """Without Vault there is no key, a clear line, and no file left behind."""
    config = write_config(tmp_path)
    ran = run("bootstrap", "--config", config, "--out", tmp_path / "admin.key")
    assert ran.returncode == 1
    assert "Error: Vault cannot be used" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "admin.key").exists()


async def test_processes_show_no_secrets(tmp_path: Path, bao: OpenBao) -> None:
    """Role id, secret id and keys are on no command line, in no environment, and in nothing that is printed."""
    config = write_config(tmp_path, bao.settings(), logging={"level": "debug"})
    key = run("bootstrap", "--config", config).stdout.strip()
    planted = {
        "role id": bao.role_id_file.read_text().strip(),
        "secret id": bao.secret_id_file.read_text().strip(),
        "admin key": key,
        "root token": bao.root_token.reveal(),
    }
    with serving(config, "--workers", "2", installed=True) as broker:
        await broker.logged("serving", 2)
        async with broker.channel() as channel:
            stub = api_key_service_pb2_grpc.ApiKeyServiceStub(channel)
            await stub.ListApiKeys(pb.ListApiKeysRequest(), metadata=bearer(key))
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.RevokeApiKey(pb.RevokeApiKeyRequest(name=key), metadata=bearer(key))
        shown = shown_by([broker.process.pid, *broker.workers().values()])
        broker.process.terminate()
        await broker.ended()
        text = broker.out.read_text() + broker.said
    assert len(broker.events("call")) == 2
    assert {name for part in shown for name in found_in(part, planted)} == set()
    assert found_in(text, planted) == set()


def test_a_lost_admin_key_is_replaced(tmp_path: Path, bao: OpenBao) -> None:
    """docs/backup.md: whoever may write to the mount takes the lost key out, and there can be a first one again."""
    config = write_config(tmp_path, bao.settings())
    lost = run("bootstrap", "--config", config)
    assert lost.returncode == 0
    admin = bao.admin()
    admin.secrets.kv.v2.delete_metadata_and_all_versions("api-keys/admin", mount_point=MOUNT)
    admin.adapter.close()
    found = run("bootstrap", "--config", config)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("vk_")
    assert found.stdout != lost.stdout
