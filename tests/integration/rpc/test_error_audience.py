"""Who is told what: a caller never reads of Vault, settings or credentials; those who run the broker read it all."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from support.captured_log import Log
from support.failed_calls import Failure, failure
from support.fake_store import FakeStateStore
from support.inproc import (
    ADMIN_KEY,
    AUDITOR_KEY,
    CONSUMER_KEY,
    OPERATOR_KEY,
    VIEWER_KEY,
    Broker,
    bearer,
    new_connector,
    running_broker,
    seed_keys,
)
from support.waiting import eventually
from valetkey.v1.connector_service_pb2 import VerifyConnectorRequest
from valetkey.v1.resource_service_pb2 import ListResourcesRequest
from valetkey.v1.token_service_pb2 import IssueTokenRequest, WatchTokenRequest
from valetkey_broker.adapters.azure.error_advice import Identity, log_in_refused, not_allowed
from valetkey_broker.adapters.vault.errors import unavailable
from valetkey_broker.errors import (
    BrokerError,
    Reason,
    cloud_undefined,
    discovery_unsupported,
    resource_manager_not_asked,
)

pytestmark = pytest.mark.unmeasured

CLIENT_ID = "22222222-2222-4222-8222-222222222222"
WHO = Identity(f"service principal {CLIENT_ID}")
WANTED = IssueTokenRequest(resource_id="demo", permissions=[1])
STORE_AWAY = "the broker cannot reach its own store right now; try again"
REFUSED = BrokerError(
    Reason.CLOUD_CREDENTIAL_REJECTED,
    log_in_refused(WHO, "AADSTS7000215"),
    {"step": "log in to Entra", "azure_code": "AADSTS7000215", "connector": "azure-blob-demo"},
)
NOT_ALLOWED = BrokerError(
    Reason.CLOUD_PERMISSION_MISSING,
    not_allowed("DELEGATION_KEY", "AuthorizationPermissionMismatch", WHO),
    {"step": "get a user delegation key", "connector": "azure-blob-demo", "account": "demoaccount"},
)
VAULT_AWAY = unavailable("untrusted certificate", "reading", "compare vault.address and vault.ca_file")
# What only an operator could act on, or needs to know.
SECRET_TO_CALLERS = ("vault", "secret", "paste", "role", CLIENT_ID, "aadsts", "untrusted", "ca_file", "delegator")


async def issued(broker: Broker, key: str) -> Failure:
    """Asks for one token, in vain."""
    return await failure(broker.tokens.IssueToken(WANTED, metadata=bearer(key)))


async def watched(broker: Broker, key: str) -> Failure:
    """Asks for a stream of tokens, in vain."""
    stream = broker.tokens.WatchToken(WatchTokenRequest(request=WANTED), metadata=bearer(key))
    return await failure(stream.read())


Ask = Callable[[Broker, str], Awaitable[Failure]]


def told(seen: Failure) -> str:
    """Returns everything that the caller gets to read, in lower case."""
    return f"{seen.message} {seen.metadata} {seen.error.trailing_metadata()}".lower()


@pytest.mark.parametrize("error", [REFUSED, NOT_ALLOWED], ids=lambda error: error.reason.name)
@pytest.mark.parametrize("ask", [issued, watched])
async def test_consumer_is_not_told_how_to_mend_a_connector(
    stocked: Broker, log: Log, ask: Ask, error: BrokerError
) -> None:
    """Who asks for a token learns that Azure refuses the connector, and whom to tell; the log has the remedy."""
    stocked.cloud.fail("signing_key", error)
    seen = await ask(stocked, CONSUMER_KEY)
    assert seen.short == (grpc.StatusCode.FAILED_PRECONDITION, error.reason.name)
    assert "tell those who run the broker" in seen.message
    assert not [word for word in SECRET_TO_CALLERS if word in told(seen)]
    assert seen.metadata["connector"] == "azure-blob-demo"
    (line,) = [line for line in log.events("call") if line.get("reason") == error.reason.name]
    assert line["message"] == error.message
    assert line["details"] == error.metadata


@pytest.mark.parametrize("error", [REFUSED, NOT_ALLOWED, VAULT_AWAY], ids=lambda error: error.reason.name)
@pytest.mark.parametrize("key", [ADMIN_KEY, OPERATOR_KEY])
async def test_those_who_run_the_broker_are_told_all(stocked: Broker, error: BrokerError, key: str) -> None:
    """An operator reads the cause and the next step, with every detail."""
    stocked.cloud.fail("log_in", error)
    request = VerifyConnectorRequest(name="azure-blob-demo")
    seen = await failure(stocked.connectors.VerifyConnector(request, metadata=bearer(key)))
    assert (seen.message, seen.metadata) == (error.message, error.metadata)


@pytest.mark.parametrize(("key", "in_full"), [(CONSUMER_KEY, False), (VIEWER_KEY, False), (OPERATOR_KEY, True)])
async def test_listing_tells_each_reader_their_own(stocked: Broker, key: str, in_full: bool) -> None:
    """The error that stands beside a connector in a listing is as discreet as one that fails the call."""
    stocked.cloud.fail("check_container", REFUSED)
    answer = await stocked.resources.ListResources(ListResourcesRequest(), metadata=bearer(key))
    (entry,) = answer.connectors
    said = f"{entry.error_message} {dict(entry.error.metadata)}".lower()
    assert bool([word for word in SECRET_TO_CALLERS if word in said]) is in_full
    assert (entry.error_message == REFUSED.message) is in_full


@pytest.mark.parametrize("ask", [issued, watched])
async def test_consumer_never_hears_of_vault(tmp_path: Path, ask: Ask) -> None:
    """With the store away and the credential not in memory, a caller is told to try again, and nothing of Vault."""
    store = FakeStateStore()
    await seed_keys(store)
    async with running_broker(tmp_path, store=store) as first:
        await first.ready()
        await first.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await first.allow()
    async with running_broker(tmp_path, store=store) as broker:
        await broker.ready()
        await broker.core.repository.credentials_read()
        broker.core.repository._credentials._known.clear()
        store.fail_with = VAULT_AWAY
        seen = await ask(broker, CONSUMER_KEY)
        assert (seen.short, seen.message) == ((grpc.StatusCode.UNAVAILABLE, "VAULT_UNAVAILABLE"), STORE_AWAY)
        # The reason is the API's own word; nothing else is left.
        assert not [word for word in SECRET_TO_CALLERS if word in seen.message.lower()]
        assert seen.metadata == {}


async def test_lost_credential_is_not_the_callers_to_look_for(stocked: Broker, log: Log) -> None:
    """A credential that is gone from Vault is told without it, and as nothing that passes."""
    stocked.store._versions["credentials/azure-blob-demo"] = [None]
    stocked.core.keys.forget(stocked.core.memory.connectors["azure-blob-demo"].uid)
    stocked.core.repository._credentials._known.clear()
    seen = await issued(stocked, CONSUMER_KEY)
    assert "tell those who run the broker" in seen.message
    assert not [word for word in SECRET_TO_CALLERS if word in seen.message.lower().replace("credential", "")]
    assert seen.metadata == {"connector": "azure-blob-demo"}


async def test_nobody_hears_of_vault_before_they_have_shown_who_they_are(tmp_path: Path) -> None:
    """A broker that has not read its store, and one whose memory is too old, tell strangers nothing of it."""
    store = FakeStateStore()
    await seed_keys(store)
    store.fail_with = VAULT_AWAY
    vault: dict[str, Any] = {"max_stale_seconds": 0.2}
    async with running_broker(tmp_path, store=store, vault=vault) as broker:
        await eventually(lambda: store.calls["open"] > 0)
        starting = await issued(broker, CONSUMER_KEY)
        assert starting.short == (grpc.StatusCode.UNAVAILABLE, "NOT_SERVING")
        store.fail_with = None
        await broker.ready()
        store.fail_with = VAULT_AWAY
        await broker.ready(serving=False)
        stale = await issued(broker, AUDITOR_KEY)
        assert (stale.short[1], stale.message, stale.metadata) == ("VAULT_UNAVAILABLE", STORE_AWAY, {})
        for seen in (starting, stale):
            assert "vault" not in seen.message.lower()


async def test_any_error_can_have_words_of_its_own_for_callers(stocked: Broker) -> None:
    """A remedy that is an operator's is kept from callers whatever the reason is, and survives a shared answer."""
    error = BrokerError(
        Reason.CLOUD_UNAVAILABLE,
        "its TLS certificate is not trusted. Check ca_file of the cloud profile.",
        {"step": "list containers", "account": "demoaccount"},
        retry_after=2.0,
        public_message="storage account demoaccount cannot be reached",
    )
    stocked.cloud.fail("signing_key", error)
    seen = await issued(stocked, CONSUMER_KEY)
    assert (seen.message, seen.retry_after) == ("storage account demoaccount cannot be reached", 2.0)
    assert seen.metadata == {"account": "demoaccount"}
    assert error.again_in(1.0).public().message == seen.message


@pytest.mark.parametrize(
    "error",
    [
        cloud_undefined("azure-blob-demo", "gone", "azure-public"),
        discovery_unsupported("azure-blob-demo", "list storage accounts", "dev", "has no arm_endpoint"),
        resource_manager_not_asked("azure-blob-demo", "look at the account's settings", "dev has no arm_endpoint"),
    ],
    ids=["cloud", "discovery", "account settings"],
)
def test_settings_of_clouds_are_the_operators(error: BrokerError) -> None:
    """What [clouds] says, or does not, is told to those who can change it."""
    told_all, told_callers = error.message, error.public().message
    assert not [word for word in ("[clouds]", "settings", "arm_endpoint", "azure-public") if word in told_callers]
    assert told_all != told_callers
    assert "azure-blob-demo" in told_callers


@pytest.mark.parametrize("key", [CONSUMER_KEY, OPERATOR_KEY])
async def test_accounts_that_are_away_are_named_to_those_who_run_the_broker(tmp_path: Path, key: str) -> None:
    """Who may have one container does not learn which other accounts the connector reaches, nor what ails them."""
    error = BrokerError(
        Reason.CLOUD_UNAVAILABLE,
        "Cannot list containers at storage account payroll: Azure answered with HTTP 500. Try again later.",
        {"step": "list containers", "connector": "azure-blob-demo", "account": "payroll"},
    )
    async with running_broker(tmp_path) as broker:
        await broker.ready()
        broker.cloud.containers["payroll"] = set()
        await broker.connectors.CreateConnector(new_connector(resource_id=""), metadata=bearer(OPERATOR_KEY))
        await broker.allow("key:trainer", "key:ops", containers=["later"])
        broker.cloud.sick = {"payroll": error}
        wanted = IssueTokenRequest(resource_id="later", permissions=[1])
        seen = await failure(broker.tokens.IssueToken(wanted, metadata=bearer(key)))
        assert seen.short == (grpc.StatusCode.UNAVAILABLE, "CLOUD_UNAVAILABLE")
        assert ("payroll" in told(seen)) == (key == OPERATOR_KEY)
        broker.cloud.sick = dict.fromkeys(broker.cloud.containers, error)
        answer = await broker.resources.ListResources(ListResourcesRequest(), metadata=bearer(key))
        assert ("payroll" in str(answer)) == (key == OPERATOR_KEY)
