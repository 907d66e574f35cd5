"""Azurite in the dev stack: installed from a host-free lock file, serving over TLS with keys of its own."""

import asyncio
import json
import ssl
import sys
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob import generate_container_sas
from azure.storage.blob.aio import BlobServiceClient

from valetkey_broker.errors import ConfigurationError
from valetkey_devstack.azurite import Azurite, start_azurite
from valetkey_devstack.azurite_install import ensure_installed, place
from valetkey_devstack.ca import make_ca

pytestmark = pytest.mark.xdist_group("azurite")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Azurite]:
    folder = tmp_path_factory.mktemp("azurite")
    running = await start_azurite(folder / "azurite", make_ca(folder))
    yield running
    await running.stop()


@pytest.fixture
async def azurite(server: Azurite) -> Azurite:
    """A running Azurite, again after a test that ended it; what has been stored in it stays."""
    if server.pid is None:
        await server.start()
    return server


def _service(azurite: Azurite, account: str, key: str) -> BlobServiceClient:
    return BlobServiceClient(
        azurite.blob_url(account),
        credential={"account_name": account, "account_key": key},
        transport=AioHttpTransport(use_env_settings=False, connection_verify=str(azurite.ca_file)),
        retry_total=0,
    )


async def _containers(azurite: Azurite, account: str) -> list[str]:
    async with _service(azurite, account, azurite.accounts[account].reveal()) as service:
        return [container.name async for container in service.list_containers()]


async def test_serves_its_accounts_over_tls(azurite: Azurite) -> None:
    """Containers are made per account, twice without harm, with the account's own key."""
    await azurite.create_containers("demomlstorage", ["demo-models", "demo-zenmlartifactstore"])
    await azurite.create_containers("demomlstorage", ["demo-models"])
    await azurite.create_containers("demologs", ["demo-logs"])
    assert await _containers(azurite, "demomlstorage") == ["demo-models", "demo-zenmlartifactstore"]
    assert await _containers(azurite, "demologs") == ["demo-logs"]


async def test_a_regenerated_key_counts_at_once_and_the_other_stays(azurite: Azurite) -> None:
    """Azurite itself refuses the old key from then on, without a restart; what key2 opens stays open."""
    await azurite.create_containers("demologs", ["demo-logs"])
    pid, old, second = azurite.pid, azurite.accounts["demologs"], azurite.second_keys["demologs"]
    await azurite.regenerate("demologs", "key1")
    assert azurite.pid == pid
    assert azurite.accounts["demologs"] != old
    assert await _containers(azurite, "demologs") == ["demo-logs"]
    async with _service(azurite, "demologs", old.reveal()) as service:
        with pytest.raises(ClientAuthenticationError):
            await service.get_account_information()
    async with _service(azurite, "demologs", second.reveal()) as service:
        assert [each.name async for each in service.list_containers()] == ["demo-logs"]
    with pytest.raises(LookupError):
        await azurite.regenerate("demologs", "key3")
    assert list(azurite.directory.glob("accounts*")) == []


async def test_takes_clients_newer_than_itself(azurite: Azurite) -> None:
    """A client that speaks an API version from after Azurite's release is served: people install the newest."""
    await azurite.create_containers("demologs", ["demo-logs"])

    def newer(request: Any) -> None:
        request.http_request.headers["x-ms-version"] = "2099-12-31"

    async with _service(azurite, "demologs", azurite.accounts["demologs"].reveal()) as service:
        found = [each.name async for each in service.list_containers(raw_request_hook=newer)]
    assert found == ["demo-logs"]


async def test_copies_from_itself(azurite: Azurite) -> None:
    """It fetches the source of a copy over its own TLS, and trusts that: copy, rename and mv work."""
    await azurite.create_containers("demologs", ["demo-logs"])
    key = azurite.accounts["demologs"].reveal()
    until = datetime.now(tz=UTC) + timedelta(hours=1)
    sas = generate_container_sas("demologs", "demo-logs", account_key=key, permission="rl", expiry=until)
    async with _service(azurite, "demologs", key) as service:
        container = service.get_container_client("demo-logs")
        await container.upload_blob("one", b"weights")
        await container.get_blob_client("two").start_copy_from_url(f"{container.get_blob_client('one').url}?{sas}")
        assert await (await container.download_blob("two")).readall() == b"weights"


async def test_refuses_a_wrong_key(azurite: Azurite) -> None:
    """The keys are random ones, not the well-known key of the emulator, and they are checked."""
    other = azurite.accounts["demologs"].reveal()
    async with _service(azurite, "demomlstorage", other) as service:
        with pytest.raises(ClientAuthenticationError):
            await service.create_container("stolen")


async def test_asks_for_a_token_of_entra(azurite: Azurite) -> None:
    """A bearer token that is rubbish is refused: OAuth is on, as the broker needs it."""
    context = ssl.create_default_context(cafile=str(azurite.ca_file))
    headers = {"Authorization": "Bearer rubbish", "x-ms-version": "2024-11-04"}
    url = f"{azurite.blob_url('demomlstorage')}?comp=list"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers, ssl=context) as answer:
        assert answer.status == 403
        assert answer.headers["x-ms-error-code"] == "AuthenticationFailed"


async def test_keeps_its_blobs_over_a_restart(azurite: Azurite) -> None:
    """A test may take the storage away and bring it back; the stack's second start finds its data."""
    await azurite.create_containers("demologs", ["demo-logs"])
    await azurite.stop()
    await azurite.stop()
    assert azurite.pid is None
    await azurite.start()
    assert await _containers(azurite, "demologs") == ["demo-logs"]
    azurite.kill()
    assert azurite.pid is None


async def test_keys_and_signatures_stay_out_of_arguments_and_log(azurite: Azurite) -> None:
    """Account keys are in no process argument, and no request is logged with its signature."""
    await azurite.create_containers("demologs", ["demo-logs"])
    arguments = await asyncio.to_thread(Path(f"/proc/{azurite.pid}/cmdline").read_text)
    log = (azurite.directory / "azurite.log").read_text()
    for key in azurite.accounts.values():
        assert key.reveal() not in arguments + log + repr(azurite.accounts)
    assert "demo-logs" not in log


def test_lock_file_holds_digests_and_no_host() -> None:
    """The packages come from the user's own registry, and are checked against their digests."""
    text = (files("valetkey_devstack") / "azurite_npm" / "package-lock.json").read_text()
    packages = {name: entry for name, entry in json.loads(text)["packages"].items() if name}
    assert packages["node_modules/azurite"]["version"] == "3.37.0"
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert '"resolved"' not in text


def test_npm_failure_is_told_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a network gets npm's own words and the next step, and no half installation."""
    for name, value in {
        "registry": "https://127.0.0.1:1",
        "cache": str(tmp_path / "npm"),
        "fetch_retries": "0",
    }.items():
        monkeypatch.setenv(f"npm_config_{name}", value)
    said: list[str] = []
    with pytest.raises(ConfigurationError, match=r"(?s)ECONNREFUSED.*check the network"):
        ensure_installed(said.append, parent=tmp_path / "share")
    assert len(said) == 1
    assert list((tmp_path / "share").iterdir()) == []


def test_goes_to_the_cache_outside_of_a_virtual_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python of the system is not written into."""
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("npm_config_registry", "https://127.0.0.1:1")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(ConfigurationError, match="could not install"):
        ensure_installed(lambda _line: None)
    assert (tmp_path / "valetkey").is_dir()


def test_installers_at_the_same_time_do_no_harm(tmp_path: Path) -> None:
    """Two first starts at once leave one whole installation."""
    both = threading.Barrier(2)

    def fill(folder: Path) -> None:
        (folder / "whole").write_text("yes")
        both.wait(10)

    installers = [threading.Thread(target=place, args=(tmp_path / "target", fill)) for _ in range(2)]
    for installer in installers:
        installer.start()
    for installer in installers:
        installer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert (tmp_path / "target" / "whole").read_text() == "yes"


def test_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A read-only or wrong place is named instead of a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file: cannot be written"):
        place(tmp_path / "file" / "target", lambda _folder: None)
