"""Files of the Vault settings that are rotated while the broker runs, on a real OpenBao over TLS."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from support.openbao import running_openbao, store_on, token_of
from valetkey_broker.adapters.vault import VaultStateStore
from valetkey_broker.errors import BrokerError
from valetkey_devstack.ca import make_ca
from valetkey_devstack.openbao import OpenBao

pytestmark = pytest.mark.xdist_group("openbao-rotation")


@pytest.fixture
async def bao(tmp_path: Path) -> AsyncIterator[OpenBao]:
    async with running_openbao(tmp_path) as server:
        yield server


@pytest.fixture
async def store(bao: OpenBao, tmp_path: Path) -> AsyncIterator[VaultStateStore]:
    """A store in use, whose files are copies that a test may change."""
    for file in (bao.ca_file, bao.role_id_file, bao.secret_id_file):
        shutil.copy(file, tmp_path / f"own-{file.name}")
    files = {f"{name}_file": tmp_path / f"own-{name}" for name in ("role_id", "secret_id")}
    async with store_on(bao, ca_file=tmp_path / "own-ca.pem", **files) as opened:
        await opened.open()
        await opened.write("connectors/one", {"n": 1}, expected=0)
        yield opened


async def outcome(store: VaultStateStore) -> str:
    """Returns what a read comes to: "read", or the cause of its failure."""
    try:
        return "read" if await store.newest("connectors/one") == 1 else "empty"
    except BrokerError as error:
        return error.metadata["cause"]


async def settled(store: VaultStateStore, wanted: str, seconds: float = 60.0) -> None:
    """Reads until that comes to `wanted`."""
    deadline = time.monotonic() + seconds
    while (found := await outcome(store)) != wanted:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.1)


async def test_new_ca_of_a_running_vault(bao: OpenBao, store: VaultStateStore, tmp_path: Path) -> None:
    """Vault comes back with a certificate of another CA: the broker goes on once the CA file has all of it."""
    own = tmp_path / "own-ca.pem"
    (tmp_path / "next").mkdir()
    authority = make_ca(tmp_path / "next")
    authority.issue("openbao", tmp_path / "openbao")
    bao.ca_file = authority.ca_file
    await bao.restart()
    assert await outcome(store) == "untrusted certificate"
    both = own.read_bytes() + authority.ca_file.read_bytes()
    with capture_logs() as lines:
        own.write_bytes(both[:-60])
        await asyncio.sleep(1.5)
        assert [await outcome(store) for _ in range(3)] == ["untrusted certificate"] * 3
        own.write_bytes(both)
        await settled(store, "read")
    said = [(line["log_level"], line["what"]) for line in lines if "what" in line]
    assert said == [("error", "the CAs of Vault"), ("info", "the CAs of Vault"), ("info", "the CAs of Vault")]


async def test_withdrawn_ca_ends_the_connections_made_with_it(store: VaultStateStore, tmp_path: Path) -> None:
    """A CA that is taken out of the file vouches for no call from then on, open connection or not."""
    assert await outcome(store) == "read"
    (tmp_path / "next").mkdir()
    shutil.copy(make_ca(tmp_path / "next").ca_file, tmp_path / "own-ca.pem")
    await settled(store, "untrusted certificate")


async def test_calls_under_way_outlive_a_change_of_the_cas(store: VaultStateStore, tmp_path: Path) -> None:
    """While the file is rewritten again and again, no call of many at once fails."""
    own = tmp_path / "own-ca.pem"
    good = own.read_bytes()
    (tmp_path / "next").mkdir()
    other = make_ca(tmp_path / "next").ca_file.read_bytes()
    ends = time.monotonic() + 3.0

    async def calls() -> set[str]:
        seen = set()
        while time.monotonic() < ends:
            seen.add(await outcome(store))
        return seen

    async def changes() -> set[str]:
        turn = 0
        while time.monotonic() < ends:
            turn += 1
            own.write_bytes(good + other * (turn % 3))
            await asyncio.sleep(0.05)
        return {"read"}

    assert await asyncio.gather(*(calls() for _ in range(8)), changes()) == [{"read"}] * 9


async def test_ids_that_went_bad_do_not_cost_the_login(bao: OpenBao, store: VaultStateStore, tmp_path: Path) -> None:
    """A secret id caught half-way through its rotation: the broker logs in with the one it knows, and says so once."""
    before = token_of(store)
    secret_id = tmp_path / "own-secret_id"
    admin = bao.admin()
    with capture_logs() as lines:
        for ruin in (lambda: secret_id.write_text("\n"), secret_id.unlink):
            ruin()
            admin.auth.token.revoke(token_of(store))
            assert await outcome(store) == "read"
        secret_id.write_text(admin.auth.approle.generate_secret_id("valetkey-broker")["data"]["secret_id"])
        admin.auth.token.revoke(token_of(store))
        assert await outcome(store) == "read"
    admin.adapter.close()
    assert token_of(store) != before
    told = [(line["log_level"], line.get("error", "")) for line in lines if "what" in line]
    assert [level for level, _ in told] == ["error", "error", "info", "info"]
    assert told[0][1] == "vault.secret_id_file: the file is empty; expected one line, as Vault printed it"
    assert "No such file" in told[1][1]
