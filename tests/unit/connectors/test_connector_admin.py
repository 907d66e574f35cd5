"""ConnectorAdmin: what is refused before Azure is asked, what is stored after, and what is never stored."""

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from support.core import CLIENT, NOW, OTHER_PROFILE, PLANTED, PROFILE, PROFILES, TENANT, FakeClock, Replica
from support.fake_cloud import FakeCloud
from support.fake_ledger import FakeLedger
from support.fake_store import FakeStateStore
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.connector_admin import ConnectorAdmin
from valetkey_broker.connectors.connector_draft import NewConnector
from valetkey_broker.connectors.connector_filter import ConnectorFilter
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import (
    BLOB_CONTAINER,
    AzureConfig,
    Connector,
    ConnectorType,
    Container,
    Credential,
    InvalidFieldError,
    ResourceId,
    Secret,
    SigningKey,
)
from valetkey_broker.ports import AccountSearch

_UUID = "0f9d7c52-6a3e-4a53-9d53-0f3a4f4f6c11"


class World:
    """A ConnectorAdmin on a replica and a cloud of its own."""

    def __init__(self, *, cloud: FakeCloud | None = None, store: FakeStateStore | None = None) -> None:
        self.cloud = cloud or FakeCloud(
            {"one": ["demo", "models"], "two": ["demo"]}, profile=PROFILE, secrets=[PLANTED]
        )
        self.replica = Replica(store)
        self.held: list[SigningKey] = []
        self.admin = ConnectorAdmin(
            repository=self.replica.repository,
            memory=self.replica.memory,
            cloud=self.cloud,
            reach=ReachCache(CloudClient(self.cloud, self.replica.repository.credential, 0.5), FakeClock(), 300),
            auth_methods=AUTH_METHODS,
            signing_keys=lambda _connector: self.held,
            profiles=PROFILES,
            default_cloud="dev",
            clock=FakeClock(),
            timeout_seconds=0.5,
            ledger=FakeLedger(),
        )

    async def create(
        self,
        name: str = "azure-blob-demo",
        resource_id: str = "",
        secret: str = PLANTED,
        noted: Mapping[str, Any] | None = None,
        **azure: str,
    ) -> Connector:
        connector, _ = await self.admin.create(
            self.new(name, resource_id, secret, noted, **azure), created_by="key:ops"
        )
        return connector

    def new(
        self,
        name: str = "azure-blob-demo",
        resource_id: str = "",
        secret: str = PLANTED,
        noted: Mapping[str, Any] | None = None,
        **azure: str,
    ) -> NewConnector:
        given = {"tenant_id": TENANT, "client_id": CLIENT, "cloud": "", **azure}
        new = NewConnector(
            name=name,
            type=ConnectorType.AZURE,
            auth_method="service-principal",
            resource_type=BLOB_CONTAINER,
            resource_id=resource_id,
            azure=AzureConfig(**given),
            secrets={"client_secret": Secret(secret)},
            **(noted or {}),
        )
        assert PLANTED not in repr(new)
        return new


@pytest.fixture
def world() -> World:
    """Reaches demo and models in the account one, and demo in two."""
    return World()


async def test_a_connector_is_stored_after_it_was_verified(world: World) -> None:
    """Registering proves the secret, keeps it, and forgets what it used for proving."""
    connector = await world.create(resource_id="az://models")
    assert connector.resource == ResourceId("models", account="one")
    assert connector.azure.cloud == "dev"
    assert world.admin.get("azure-blob-demo") == connector
    (forgotten,) = world.cloud.forgotten
    assert forgotten != connector.uid
    credential = await world.replica.repository.credential(connector)
    assert credential.value == ClientSecret(Secret(PLANTED))


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": "Upper"}, "name"),
        ({"name": "a/../b"}, "name"),
        ({"cloud": "https://evil.example"}, "cloud"),
        ({"cloud": "azure-public"}, "cloud"),
        ({"tenant_id": "common"}, "tenant_id"),
        ({"tenant_id": ""}, "tenant_id"),
        ({"tenant_id": f"{TENANT}/../x"}, "tenant_id"),
        ({"client_id": "me"}, "client_id"),
        ({"storage_account": "evil.example"}, "storage_account"),
        ({"storage_account": "one\n"}, "storage_account"),
        ({"subscription_id": "*"}, "subscription_id"),
        ({"resource_group": "a/b"}, "resource_group"),
        ({"resource_id": "az://UPPER"}, "resource_id"),
        ({"resource_id": "az://demo/models"}, "resource_id"),
        ({"resource_id": "https://one.blob.elsewhere.invalid/demo"}, "resource_id"),
        ({"resource_id": "https://one.blob.evil.example/demo"}, "resource_id"),
        ({"resource_id": "abfss://demo@one.dfs.elsewhere.invalid"}, "resource_id"),
        ({"resource_id": "https://one.blob.dev.invalid/demo", "storage_account": "two"}, "resource_id"),
        ({"noted": {"description": "two\nlines"}}, "description"),
        ({"noted": {"labels": {"a b": ""}}}, "labels"),
        ({"noted": {"expires_at": datetime.fromtimestamp(NOW, UTC)}}, "expire_time"),
        ({"noted": {"expires_skew_tolerance": -1}}, "expires_skew_tolerance"),
        ({"noted": {"no_verify": True}, "resource_id": "az://demo"}, "resource_id"),
        ({"secret": ""}, "client_secret"),
        ({"secret": f"{PLANTED}\n"}, "client_secret"),
        ({"secret": f"\ufeff{PLANTED}"}, "client_secret"),
        ({"secret": f"{PLANTED}\0"}, "client_secret"),
        ({"secret": f"{PLANTED}\u00e9"}, "client_secret"),
        ({"secret": PLANTED * 200}, "client_secret"),
    ],
)
async def test_what_is_malformed_reaches_neither_azure_nor_vault(
    world: World, values: dict[str, Any], field: str
) -> None:
    """Each rule names its field, asks nobody, and repeats nothing of a secret."""
    with pytest.raises(InvalidFieldError) as caught:
        await world.create(**values)
    assert caught.value.field == field
    assert PLANTED not in str(caught.value)
    assert not world.cloud.calls
    assert not world.replica.store.calls


@pytest.mark.parametrize("resource_id", ["https://two.blob.dev.invalid/demo", "abfss://demo@two.dfs.dev.invalid"])
async def test_a_full_url_names_the_account(world: World, resource_id: str) -> None:
    """The URL's account is where the connector looks, and nowhere else."""
    connector = await world.create(resource_id=resource_id)
    assert connector.azure.storage_account == "two"
    assert connector.resource == ResourceId("demo", account="two")
    assert [c.account for c in (await world.admin.verify(connector.name)).reach.containers] == ["two"]


async def test_a_url_and_the_same_account_agree(world: World) -> None:
    """Saying the account twice is no conflict."""
    connector = await world.create(resource_id="https://one.blob.dev.invalid/demo", storage_account="one")
    assert connector.azure.storage_account == "one"


async def test_optional_fields_are_kept(world: World) -> None:
    """Where to look is the operator's choice, written down in one spelling."""
    connector = await world.create(subscription_id=_UUID.upper(), resource_group="rg", cloud=OTHER_PROFILE.name)
    assert connector.azure == AzureConfig(TENANT, CLIENT, "elsewhere", "", _UUID, "rg")
    assert connector.resource is None


async def test_a_short_id_of_two_accounts_is_not_guessed(world: World) -> None:
    """Nothing is stored for a container that two accounts have."""
    with pytest.raises(BrokerError) as caught:
        await world.create(resource_id="az://demo")
    assert caught.value.reason is Reason.RESOURCE_AMBIGUOUS
    assert world.replica.store.calls["write"] == 0


@pytest.mark.parametrize("step", ["log_in", "list_containers", "signing_key"])
async def test_a_failed_verification_stores_nothing(world: World, step: Any) -> None:
    """Neither connector nor secret is left behind, and the clients of the draft are closed."""
    world.cloud.fail(step, Reason.CLOUD_PERMISSION_MISSING)
    with pytest.raises(BrokerError) as caught:
        await world.create()
    assert caught.value.metadata["step"] == step
    assert world.replica.store.calls["write"] == 0
    assert len(world.cloud.forgotten) == 1
    world.cloud.heal()
    assert await world.create()


@pytest.mark.parametrize(
    ("resource_id", "account"), [("https://one.blob.dev.invalid/demo", ""), ("az://demo", "one"), ("", "")]
)
async def test_without_verification_nobody_is_asked_and_it_shows(world: World, resource_id: str, account: str) -> None:
    """A connector can be stored before its roles are assigned; it looks like no other, and serves its one container."""
    connector = await world.create(
        resource_id=resource_id, secret="NOT~yet", noted={"no_verify": True}, storage_account=account
    )
    assert connector.unverified
    assert connector.resource == (ResourceId("demo", account="one") if resource_id else None)
    assert not world.cloud.calls


async def test_a_list_can_be_narrowed_down(world: World) -> None:
    """All that is asked for has to hold; a label without a value asks for any."""
    await world.create("a", noted={"labels": {"team": "ml", "stage": "prod"}})
    await world.create("b", noted={"labels": {"team": "ml"}})
    await world.create("c")

    def names(**wanted: Any) -> str:
        return "".join(connector.name for connector in world.admin.all(ConnectorFilter(**wanted)))

    assert names() == "abc"
    assert names(type=ConnectorType.AZURE, auth_method="service-principal") == "abc"
    assert names(auth_method="another") == ""
    assert names(resource_type=BLOB_CONTAINER, labels={"team": "ml"}) == "ab"
    assert names(labels={"team": "ml", "stage": ""}) == "a"
    assert names(labels={"team": "other"}) == ""
    with pytest.raises(InvalidFieldError, match="labels"):
        names(labels={"no label": ""})


async def test_a_wrong_secret_is_refused_without_a_trace(world: World) -> None:
    """The error holds Azure's code and nothing of the secret."""
    with pytest.raises(BrokerError) as caught:
        await world.create(secret="WRONG~secret")
    assert caught.value.metadata["azure_code"] == "AADSTS7000215"
    assert "WRONG" not in str(caught.value) + str(caught.value.metadata)
    assert world.replica.store.calls["write"] == 0


async def test_a_cloud_that_does_not_answer_is_given_up(world: World) -> None:
    """Registering ends in time, and says that it was Azure."""
    world.cloud.hold("log_in")
    with pytest.raises(BrokerError, match=r"did not answer connector azure-blob-demo within 0\.5 s") as caught:
        await world.create()
    assert caught.value.reason is Reason.CLOUD_UNAVAILABLE
    assert len(world.cloud.forgotten) == 1


async def test_a_taken_name_is_refused_before_azure_is_asked(world: World) -> None:
    """Nobody waits for a verification whose result cannot be stored."""
    await world.create()
    world.cloud.calls.clear()
    with pytest.raises(BrokerError) as caught:
        await world.create()
    assert caught.value.reason is Reason.CONNECTOR_EXISTS
    assert not world.cloud.calls


async def test_of_two_terminals_one_wins() -> None:
    """Through two replicas at once: one connector, and the other operator is told."""
    store = FakeStateStore()
    outcomes = await asyncio.gather(
        *(World(store=store).create() for _ in range(2)),
        return_exceptions=True,
    )
    (refusal,) = [outcome for outcome in outcomes if isinstance(outcome, BrokerError)]
    assert refusal.reason is Reason.CONNECTOR_EXISTS
    assert sum(isinstance(outcome, Connector) for outcome in outcomes) == 1


async def test_getting_listing_deleting(world: World) -> None:
    """Connectors are listed by name; a deleted one is gone; unknown and impossible names are told apart."""
    for name in "ba":
        await world.create(name)
    assert [connector.name for connector in world.admin.all()] == ["a", "b"]
    await world.admin.delete("a", deleted_by="key:ops")
    assert [connector.name for connector in world.admin.all()] == ["b"]
    for missing in (
        world.admin.delete("a", deleted_by="key:ops"),
        world.admin.verify("a"),
    ):
        with pytest.raises(BrokerError) as caught:
            await missing
        assert caught.value.reason is Reason.CONNECTOR_NOT_FOUND
    with pytest.raises(InvalidFieldError):
        world.admin.get("../generation")
    with pytest.raises(InvalidFieldError):
        await world.admin.delete("A", deleted_by="key:ops")


async def test_verify_logs_in_anew(world: World) -> None:
    """A secret that expired meanwhile is noticed."""
    await world.create()
    assert world.cloud.secrets is not None
    world.cloud.secrets.clear()
    with pytest.raises(BrokerError) as caught:
        await world.admin.verify("azure-blob-demo")
    assert caught.value.reason is Reason.CLOUD_CREDENTIAL_REJECTED


class MoodyCloud(FakeCloud):
    """A cloud that fails for connectors called `bad` and never answers those called `slow`."""

    async def find_accounts(self, connector: Connector, credential: Credential) -> AccountSearch:
        if connector.name == "bad":
            raise BrokerError(Reason.CLOUD_THROTTLED, "later", retry_after=7)
        if connector.name == "slow":
            await asyncio.sleep(60)
        return await super().find_accounts(connector, credential)


async def test_one_failing_connector_does_not_hide_the_others() -> None:
    """Each shows its own error, or what it reaches."""
    world = World(cloud=MoodyCloud({"one": ["demo"]}, profile=PROFILE))
    good = await world.create("good")
    others = [
        await world.replica.repository.create_connector(
            replace(good, name=name, uid=name, credential_version=0), ClientSecret(Secret(PLANTED))
        )
        for name in ("bad", "slow")
    ]
    reached = await world.admin.reach([*others, good], None)
    errors = [reach.error.reason if reach.error else None for reach in reached]
    assert errors == [Reason.CLOUD_THROTTLED, Reason.CLOUD_UNAVAILABLE, None]
    assert [list(reach.containers) for reach in reached] == [[], [], [_demo("one")]]


def _demo(account: str) -> Container:
    return Container(account, "demo", f"https://{account}.blob.dev.invalid/demo")


@pytest.mark.parametrize(
    ("only", "accounts"),
    [
        ("demo", ["one", "two"]),
        ("az://demo/some/path", ["one", "two"]),
        ("https://two.blob.dev.invalid/demo", ["two"]),
        ("https://two.blob.elsewhere.invalid/demo", []),
        ("missing", []),
    ],
)
async def test_listing_can_ask_for_one_resource(world: World, only: str, accounts: list[str]) -> None:
    """A full URL means that one container, of that cloud; a short id means all of its name."""
    connector = await world.create()
    (reach,) = await world.admin.reach([connector], ResourceId.parse(only))
    assert [container.account for container in reach.containers] == accounts


async def test_a_connector_of_a_cloud_that_was_removed_matches_no_url(world: World) -> None:
    """Settings may lose a cloud profile that a stored connector still names."""
    connector = await world.create()
    lost = replace(connector, azure=replace(connector.azure, cloud="removed"))
    (reach,) = await world.admin.reach([lost], ResourceId.parse("https://one.blob.dev.invalid/demo"))
    assert list(reach.containers) == []


async def test_listing_in_a_loop_is_no_load_on_azure(world: World) -> None:
    """Many callers at once, and again right after, are one question; an operator's verification always asks."""
    connector = await world.create()
    world.cloud.calls.clear()
    for _ in range(2):
        reached = await asyncio.gather(*(world.admin.reach([connector], None) for _ in range(20)))
        assert all(len(reach.containers) == 3 for (reach,) in reached)
    assert world.cloud.calls["list_containers"] == 2
    await world.admin.verify(connector.name)
    assert world.cloud.calls["list_containers"] == 4


async def test_a_key_that_storage_no_longer_accepts_is_found_by_verifying(world: World) -> None:
    """After a revocation in Azure every new token would be dead for hours; other replicas learn of it, too."""
    connector = await world.create()
    now = FakeClock()()
    world.held = [
        await world.cloud.signing_key(
            connector, Credential(1, ClientSecret(Secret(PLANTED))), "one", starts=now - 900, expires=now + 3600
        )
    ]
    assert not (await world.admin.verify(connector.name)).keys_revoked
    world.cloud.revoke_keys()
    assert (await world.admin.verify(connector.name)).keys_revoked
    assert world.admin.get(connector.name).keys_not_before == 0
    await world.admin.drop_signing_keys(connector.name)
    assert world.admin.get(connector.name).keys_not_before == now
    other = Replica(world.replica.store)
    await other.repository.load()
    assert other.memory.connectors[connector.name].keys_not_before == now


async def test_a_revocation_of_a_moment_ago_is_got_over(world: World) -> None:
    """Keys begin a little in the past: for that long after a revocation fresh ones would be refused, too.

    It is noticed without a key at hand as well, as in a worker that has issued nothing.
    """
    before = await world.create("before")
    now = FakeClock()()
    world.cloud.revoke_keys(now)
    proof = await world.admin.verify(before.name)
    assert (bool(proof.reach.containers), proof.keys_revoked) == (True, True)
    after = await world.create("after")
    assert world.admin.get(after.name).keys_not_before == now


async def test_a_connector_whose_fresh_tokens_are_refused_is_not_registered(world: World) -> None:
    """A key proves nothing as long as no token was accepted: a clock, or a policy of the account, may forbid it."""

    async def refuse(*_: object) -> bool:
        return False

    world.cloud.accepts = refuse  # type: ignore[method-assign]
    with pytest.raises(BrokerError, match="refuses tokens") as caught:
        await world.create()
    assert caught.value.reason is Reason.CLOUD_CREDENTIAL_REJECTED
    assert world.replica.store.calls["write"] == 0


async def test_checking_proves_as_registering_does_and_stores_nothing(world: World) -> None:
    """A wizard shows what would be reached before anything is stored; what cannot be registered fails here too."""
    reach = (await world.admin.check(world.new(), checked_by="key:ops")).reach
    assert [container.name for container in reach.containers] == ["demo", "models", "demo"]
    assert world.cloud.calls["signing_key"] > 0
    assert (dict(world.replica.memory.connectors), world.replica.store.calls["write"]) == ({}, 0)
    with pytest.raises(BrokerError) as refused:
        await world.admin.check(world.new(secret="planted-wrong"), checked_by="key:ops")
    assert refused.value.reason is Reason.CLOUD_CREDENTIAL_REJECTED
    assert len(set(world.cloud.forgotten)) == 2  # each draft's clients were closed
    await world.create()
    with pytest.raises(BrokerError) as taken:
        await world.admin.check(world.new(), checked_by="key:ops")
    assert taken.value.reason is Reason.CONNECTOR_EXISTS


_KEY = base64.b64encode(b"the key of one".ljust(64)).decode()


def _by_key(**change: Any) -> NewConnector:
    new = NewConnector(
        name="by-key",
        type=ConnectorType.AZURE,
        auth_method="account-key",
        resource_type=BLOB_CONTAINER,
        resource_id="",
        azure=AzureConfig("", "", "", storage_account="one"),
        secrets={"account_key": Secret(_KEY)},
    )
    return replace(new, **change)


async def test_the_account_of_a_key_may_stand_in_a_full_url() -> None:
    """Whoever names a container by its URL has said the account; without either, the field is named."""
    keys = World(cloud=FakeCloud({"one": ["demo", "models"]}, profile=PROFILE, secrets=[_KEY]))
    nowhere = AzureConfig("", "", "")
    with pytest.raises(InvalidFieldError, match="storage_account"):
        await keys.admin.create(_by_key(azure=nowhere), created_by="key:ops")
    url = PROFILE.container_url("one", "models")
    connector, _ = await keys.admin.create(_by_key(azure=nowhere, resource_id=url), created_by="key:ops")
    assert (connector.azure.storage_account, connector.resource) == ("one", ResourceId("models", account="one"))
    stored = await keys.replica.store.read("connectors/by-key")
    assert stored is not None
    assert _KEY not in repr(stored.data)


async def test_an_accounts_own_key_is_not_dropped() -> None:
    """It is the credential itself: who wants its tokens ended is told what does that, and nothing changes."""
    keys = World(cloud=FakeCloud({"one": ["demo"]}, profile=PROFILE, secrets=[_KEY]))
    connector, _ = await keys.admin.create(_by_key(), created_by="key:ops")
    with pytest.raises(InvalidFieldError, match="regenerate this one in Azure"):
        await keys.admin.drop_signing_keys("by-key")
    assert keys.admin.get("by-key") == connector
    assert not (await keys.admin.verify("by-key")).keys_revoked
