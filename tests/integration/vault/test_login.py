"""The broker's login, on a real OpenBao: kept alive, made anew, given back, and refused in words."""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from hvac import exceptions
from structlog.testing import capture_logs

from support.connect_proxy import ConnectProxy
from support.openbao import login_life, running_openbao, store_on, token_of
from valetkey_broker.adapters.vault import broker_policy
from valetkey_broker.errors import BrokerError, Reason
from valetkey_devstack.ca import make_ca
from valetkey_devstack.openbao import ROLE, OpenBao

pytestmark = pytest.mark.xdist_group("openbao-login")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bao(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenBao]:
    async with running_openbao(tmp_path_factory.mktemp("login")) as server:
        yield server


async def cause_of_failed_open(bao: OpenBao, **overrides: object) -> BrokerError:
    """Opens a store that cannot be opened and returns the error."""
    async with store_on(bao, **overrides) as store:
        with pytest.raises(BrokerError) as caught:
            await store.open()
    assert caught.value.reason is Reason.VAULT_UNAVAILABLE
    # Exceptions of requests hold the request; nothing may lead to one.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


async def test_short_login_lives_on(bao: OpenBao) -> None:
    """A login is renewed before it lapses: the broker works long after its first lease, on the same token."""
    # Renewed when half of it is over: a busy machine has more than a second for that.
    async with login_life(bao, ttl=3), store_on(bao) as store:
        await store.open()
        token = token_of(store)
        with capture_logs() as lines:
            await asyncio.sleep(4.5)
            await store.read("generation")
        assert token_of(store) == token
        assert lines == []


async def test_login_at_its_last_renewal_is_replaced(bao: OpenBao) -> None:
    """Vault cuts renewals at the token's maximal life: the broker logs in anew before that, without a failed call."""
    async with login_life(bao, ttl=2, max_ttl=3), store_on(bao) as store:
        await store.open()
        token = token_of(store)
        with capture_logs() as lines:
            for _ in range(25):
                await store.read("generation")
                await asyncio.sleep(0.2)
        assert token_of(store) != token
        assert {line["event"] for line in lines} == {"logged in to Vault"}


async def test_revoked_login_is_made_anew_once_for_all_callers(bao: OpenBao) -> None:
    """An operator who revokes the broker's token costs one login, and no caller a failure."""
    async with store_on(bao) as store:
        await store.open()
        admin = bao.admin()
        admin.auth.token.revoke(token_of(store))
        admin.adapter.close()
        with capture_logs() as lines:
            await asyncio.gather(*(store.names("connectors") for _ in range(20)))
        assert [line["event"] for line in lines] == ["logged in to Vault"]


async def test_write_goes_through_when_the_login_was_revoked(bao: OpenBao) -> None:
    """A write that met a revoked token is done once, not lost and not doubled."""
    async with store_on(bao) as store:
        await store.open()
        admin = bao.admin()
        admin.auth.token.revoke(token_of(store))
        admin.adapter.close()
        assert await store.write("connectors/revoked", {"n": 1}, expected=0) == 1
        assert await store.newest("connectors/revoked") == 1


async def test_denied_call_is_an_error_and_no_storm_of_logins(bao: OpenBao) -> None:
    """A policy that forbids is told from a lapsed login: one login to be sure, then none for each further call."""
    async with store_on(bao) as store:
        await store.open()
        with capture_logs() as lines:
            for _ in range(5):
                with pytest.raises(BrokerError) as caught:
                    await store.read("other")
                assert caught.value.metadata == {"cause": "denied"}
        assert [line["event"] for line in lines] == ["logged in to Vault"]
        assert "policy" in caught.value.message
        await store.read("generation")


async def test_a_login_made_to_be_sure_gives_back_the_one_before(bao: OpenBao) -> None:
    """What a policy refuses again and again leaves one token in Vault, and not one for each attempt."""
    async with store_on(bao) as store:
        await store.open()
        before = token_of(store)
        with pytest.raises(BrokerError):
            await store.read("other")
        assert token_of(store) != before
        admin = bao.admin()
        await asyncio.gather(*store._login._returning)
        with pytest.raises(exceptions.Forbidden):
            admin.auth.token.lookup(before)
        admin.auth.token.lookup(token_of(store))
        admin.adapter.close()


async def test_a_call_whose_token_was_given_back_meanwhile_is_made_again(bao: OpenBao) -> None:
    """Another call was refused by the policy, and logged in to be sure: that costs those under way nothing."""
    begun, go_on = threading.Event(), threading.Event()
    async with store_on(bao) as store:
        await store.open()
        before = token_of(store)

        def read() -> str:
            if token_of(store) == before:
                begun.set()
                go_on.wait(60)
                raise exceptions.Forbidden
            return "read"

        reading = asyncio.create_task(store._call("reading", read))
        assert await asyncio.to_thread(begun.wait, 60)
        with pytest.raises(BrokerError):
            await store.read("other")
        go_on.set()
        assert await reading == "read"


async def test_close_gives_the_login_back(bao: OpenBao) -> None:
    """After the broker has stopped, its token is worth nothing, and the closed store says so."""
    async with store_on(bao) as store:
        await store.open()
        token = token_of(store)
        await store.close()
        admin = bao.admin()
        with pytest.raises(exceptions.Forbidden):
            admin.auth.token.lookup(token)
        admin.adapter.close()
        with pytest.raises(BrokerError, match="stopping"):
            await store.read("generation")


async def test_wrong_secret_id_is_told(bao: OpenBao, tmp_path: Path) -> None:
    """A secret id that Vault refuses is named as such, with the settings to look at and without its text."""
    wrong = tmp_path / "secret_id"
    wrong.write_text("planted-secret-id")
    error = await cause_of_failed_open(bao, secret_id_file=wrong)
    assert error.metadata == {"cause": "login refused"}
    assert "vault.secret_id_file" in error.message
    assert "planted" not in error.message


@pytest.mark.parametrize("overrides", [{"approle_mount": "nowhere"}, {"approle_mount": "token"}])
async def test_wrong_approle_mount_is_told(bao: OpenBao, overrides: dict[str, str]) -> None:
    """AppRole looked for at a wrong mount is a refused login that names the setting."""
    error = await cause_of_failed_open(bao, **overrides)
    assert error.metadata == {"cause": "login refused"}
    assert "vault.approle_mount" in error.message


async def test_wrong_address_is_told(bao: OpenBao) -> None:
    """Plain HTTP where Vault speaks TLS, and the address of its user interface, lead to vault.address."""
    error = await cause_of_failed_open(bao, address=f"http://127.0.0.1:{bao.port}", ca_file=None)
    # It closes with the request half read, if that comes slowly: then the connection may be reset amid its answer.
    assert error.metadata["cause"] in ("unexpected answer", "unreachable")
    assert "begin vault.address with https://" in error.message
    error = await cause_of_failed_open(bao, address=f"{bao.address}/ui")
    assert "vault.address" in error.message


async def test_wrong_mount_is_told(bao: OpenBao) -> None:
    """An engine that is not there must not look like an empty store."""
    error = await cause_of_failed_open(bao, mount="nowhere")
    assert error.metadata["cause"] in ("denied", "not found")
    assert "vault.mount" in error.message


async def test_engine_that_went_away_is_told(bao: OpenBao) -> None:
    """A mount that is allowed and missing is an error: taken as empty, every name would seem free."""
    admin = bao.admin()
    admin.sys.create_or_update_policy("elsewhere", 'path "elsewhere/*" { capabilities = ["read", "list", "update"] }')
    admin.auth.approle.create_or_update_approle(ROLE, token_policies=[ROLE, "elsewhere"])
    try:
        async with store_on(bao, mount="elsewhere") as store:
            for call in (
                store.read("generation"),
                store.newest("generation"),
                store.names("connectors"),
                store.write("generation", {}, expected=0),
                store.destroy("generation", [1]),
            ):
                with pytest.raises(BrokerError) as caught:
                    await call
                assert caught.value.metadata == {"cause": "not found"}
    finally:
        admin.auth.approle.create_or_update_approle(ROLE, token_policies=[ROLE])
        admin.adapter.close()


async def test_engine_of_version_1_is_told(bao: OpenBao) -> None:
    """KV version 1 keeps no versions and checks nothing: writing there is an error, not a success."""
    admin = bao.admin()
    admin.sys.enable_secrets_engine("kv", path="old", options={"version": "1"})
    admin.sys.create_or_update_policy("old", 'path "old/*" { capabilities = ["create", "read", "update"] }')
    admin.auth.approle.create_or_update_approle(ROLE, token_policies=[ROLE, "old"])
    try:
        async with store_on(bao, mount="old") as store:
            with pytest.raises(BrokerError) as caught:
                await store.write("generation", {"n": 1}, expected=0)
            assert caught.value.metadata == {"cause": "unexpected answer"}
            assert "version 2" in caught.value.message
    finally:
        admin.auth.approle.create_or_update_approle(ROLE, token_policies=[ROLE])
        admin.adapter.close()


async def test_files_are_read_at_each_login(bao: OpenBao, tmp_path: Path) -> None:
    """A secret id that was replaced on disk is used at the next login, newline and all, without a restart."""
    own = tmp_path / "secret_id"
    own.write_text("not the one\n")
    async with store_on(bao, secret_id_file=own) as store:
        with pytest.raises(BrokerError):
            await store.open()
        own.write_text(f"\n  {bao.secret_id_file.read_text()}\r\n")
        await store.open()


async def test_certificate_of_another_ca_is_not_trusted(bao: OpenBao, tmp_path: Path) -> None:
    """The broker sends no secret id to a server that only happens to have the address."""
    error = await cause_of_failed_open(bao, ca_file=make_ca(tmp_path).ca_file)
    assert error.metadata == {"cause": "untrusted certificate"}
    assert "vault.ca_file" in error.message


async def test_ca_file_that_went_away_is_told(bao: OpenBao, tmp_path: Path) -> None:
    """A CA file that is missing when the first connection is made names its setting."""
    error = await cause_of_failed_open(bao, ca_file=tmp_path / "gone.pem")
    assert error.metadata == {"cause": "untrusted certificate"}
    assert "vault.ca_file" in error.message


async def test_vault_behind_a_proxy(bao: OpenBao, tmp_path: Path) -> None:
    """Where the settings name a proxy, all goes through it, by TLS to Vault itself; one that is away is named."""
    async with ConnectProxy().running() as proxy:
        async with store_on(bao, proxy=proxy.url) as store:
            await store.open()
        assert set(proxy.asked) == {f"CONNECT 127.0.0.1:{bao.port}"}
        error = await cause_of_failed_open(bao, proxy=proxy.url, ca_file=make_ca(tmp_path).ca_file)
        assert error.metadata == {"cause": "untrusted certificate"}
        proxy.refuse = True
        error = await cause_of_failed_open(bao, proxy=proxy.url)
        assert error.metadata == {"cause": "unreachable"}
        assert "vault.proxy" in error.message
    error = await cause_of_failed_open(bao, proxy="http://127.0.0.1:9")
    assert "vault.proxy" in error.message


async def test_environment_is_not_asked(bao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that other tools set change neither where the broker goes nor as whom."""
    for name in ("VAULT_TOKEN", "BAO_TOKEN", "VAULT_NAMESPACE"):
        monkeypatch.setenv(name, "from-the-environment")
    for name in ("VAULT_ADDR", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    shutil.copy(bao.ca_file, tmp_path / "ca.pem")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".vault-token").write_text("from-the-home-directory")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    async with store_on(bao) as store:
        await store.open()
        assert "from-the" not in token_of(store)


async def test_the_end_of_its_own_secret_id(bao: OpenBao) -> None:
    """The broker can say in time when it will not get in any more, by the secret id in its file."""
    path = f"/v1/auth/approle/role/{ROLE}/secret-id"
    before = bao.secret_id_file.read_text()
    admin = bao.admin()
    try:
        async with store_on(bao) as store:
            await store.open()
            assert await store.secret_id_end() is None, "it never ends"
            bao.secret_id_file.write_text(admin.adapter.post(path, json={"ttl": "1h"})["data"]["secret_id"])
            end = await store.secret_id_end()
            assert end is not None
            assert timedelta(minutes=55) < end - datetime.now(UTC) <= timedelta(hours=1)
            admin.sys.create_or_update_policy(ROLE, 'path "auth/token/renew-self" { capabilities = ["update"] }')
            with pytest.raises(BrokerError) as caught:
                await store.secret_id_end()
            assert caught.value.metadata["cause"] == "denied"
    finally:
        admin.sys.create_or_update_policy(ROLE, broker_policy("valetkey"))
        bao.secret_id_file.write_text(before)
        admin.adapter.close()
