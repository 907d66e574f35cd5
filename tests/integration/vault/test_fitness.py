"""What will go wrong later is named at the start: a policy that lacks something, an engine that deletes by age."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from support.openbao import running_openbao, store_on
from valetkey_broker.adapters.vault import broker_policy
from valetkey_broker.adapters.vault.broker_policy import lacking, needed
from valetkey_broker.errors import BrokerError
from valetkey_devstack.openbao import ROLE, OpenBao

pytestmark = pytest.mark.xdist_group("openbao-fitness")

LACKS = "the broker's policy in Vault lacks what it needs; write it again, as docs/vault.md says"
DELETES = "Vault deletes versions by their age, credentials in use too; set delete_version_after to 0s there"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bao(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenBao]:
    async with running_openbao(tmp_path_factory.mktemp("fitness")) as server:
        yield server


@pytest.fixture
def admin(bao: OpenBao) -> Iterator[hvac.Client]:
    """An operator, whose changes to policy and engine are taken back afterwards."""
    client = bao.admin()
    yield client
    client.sys.create_or_update_policy(ROLE, broker_policy())
    client.secrets.kv.v2.configure(cas_required=True, delete_version_after="0s", mount_point="valetkey")
    client.adapter.close()


async def said(bao: OpenBao, *, opens: int = 2, fails: bool = False) -> list[dict[str, Any]]:
    """Opens a store, again too, and returns the errors in the log."""
    with capture_logs() as lines:
        async with store_on(bao) as store:
            for _ in range(opens):
                if fails:
                    with pytest.raises(BrokerError):
                        await store.open()
                else:
                    await store.open()
    return [dict(line) for line in lines if line["log_level"] == "error"]


def without(*paths: str) -> str:
    """Returns the policy without the rules for some paths."""
    rules = broker_policy().split("\npath ")
    return "\npath ".join(rule for rule in rules if not rule.startswith(tuple(f'"{path}"' for path in paths)))


async def test_good_policy_and_engine_are_not_worth_a_word(bao: OpenBao) -> None:
    """A Vault that was set up as docs/vault.md says is fine."""
    assert await said(bao) == []


async def test_missing_rules_are_named_once(bao: OpenBao, admin: hvac.Client) -> None:
    """A policy of before a new folder is told at the start, path by path, not by a failing call months later."""
    policy = without("valetkey/data/grants/*", "valetkey/destroy/api-keys/*")
    admin.sys.create_or_update_policy(ROLE, policy.replace('"create", "read", "update"', '"read", "update"', 1))
    (line,) = await said(bao)
    assert line["event"] == LACKS
    assert line["missing"] == {
        "valetkey/data/connectors/*": "create",
        "valetkey/data/grants/*": "create, read, update",
        "valetkey/destroy/api-keys/*": "update",
    }


async def test_denied_start_says_what_is_missing(bao: OpenBao, admin: hvac.Client) -> None:
    """Where the start itself is denied, the log says what the policy lacks."""
    admin.sys.create_or_update_policy(ROLE, without("valetkey/data/generation"))
    (line,) = await said(bao, opens=3, fails=True)
    assert line["missing"] == {"valetkey/data/generation": "create, read, update"}


async def test_policy_of_before(bao: OpenBao, admin: hvac.Client) -> None:
    """A policy that does not let the broker look at itself is told so, and works on."""
    admin.sys.create_or_update_policy(ROLE, without("sys/capabilities-self", "valetkey/config"))
    (line,) = await said(bao)
    assert line["missing"] == {"sys/capabilities-self": "update"}


async def test_engine_that_deletes_by_age_is_named(bao: OpenBao, admin: hvac.Client) -> None:
    """Credentials that Vault would delete behind the broker's back are told of at the start, and at each write."""
    admin.secrets.kv.v2.configure(cas_required=True, delete_version_after="720h", mount_point="valetkey")
    (line,) = await said(bao)
    assert (line["event"], line["path"], line["after"]) == (DELETES, "valetkey", "720h0m0s")
    async with store_on(bao) as store:
        await store.open()
        with capture_logs() as lines:
            await store.write("connectors/short-lived", {"a": 1}, expected=0)
    (line,) = [dict(each) for each in lines]
    assert (line["event"], line["path"]) == (DELETES, "valetkey/connectors/short-lived")
    assert line["at"].startswith("20")


def test_every_rule_of_the_policy_is_looked_at() -> None:
    """The list is read from the shipped policy: a rule that is added there is looked at, for any mount.

    All but what is only good to have: whoever mounts AppRole elsewhere shall not read of an error.
    """
    text = (Path(__file__).parents[3] / "broker/src/valetkey_broker/adapters/vault/policy.hcl").read_text()
    optional = text.count('\npath "auth/approle/')
    assert (len(needed("teams/vk")), optional) == (text.count("\npath ") - 1, 1)
    assert "teams/vk/data/grants/any-name" in needed("teams/vk")
    assert lacking("vk", {}).keys() == {path.replace("any-name", "*") for path in needed("vk")}
    assert lacking("vk", {path: ["root"] for path in needed("vk")}) == {}
