"""Changing connectors: what is put together with what, what is verified, and what grants come to mean."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.core import (
    CLIENT,
    NOW,
    OTHER_PROFILE,
    PLANTED,
    PROFILE,
    PROFILES,
    TENANT,
    FakeClock,
    Replica,
    make_connector,
    make_grant,
    principal,
)
from support.fake_cloud import FakeCloud
from support.fake_ledger import FakeLedger
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.connector_admin import ConnectorAdmin
from valetkey_broker.connectors.connector_draft import NewConnector
from valetkey_broker.connectors.grant_redirection_check import leads_elsewhere
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.connectors.update_merge import ConnectorChange, changed
from valetkey_broker.connectors.verify import Proof
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import (
    BLOB_CONTAINER,
    AzureConfig,
    Connector,
    ConnectorType,
    InvalidFieldError,
    NamedSecret,
    ResourceId,
    Role,
    Secret,
)

NEW = "NEW~client-secret"
ACCOUNT_KEY = base64.b64encode(b"k" * 64).decode()
ADMIN, OPERATOR = principal(Role.ADMIN), principal(Role.OPERATOR)
ENDS = datetime.fromtimestamp(NOW, UTC) + timedelta(days=90)


class World:
    """A ConnectorAdmin with the connector azure-blob-demo, on a cloud with the accounts one and two."""

    def __init__(self) -> None:
        self.cloud = FakeCloud({"one": ["demo", "models"], "two": ["demo"]}, profile=PROFILE, secrets=[PLANTED, NEW])
        self.replica = Replica()
        repository = self.replica.repository
        self.connector_admin = ConnectorAdmin(
            repository=repository,
            memory=self.replica.memory,
            cloud=self.cloud,
            reach=ReachCache(CloudClient(self.cloud, repository.credential, 0.5), FakeClock(), 300),
            auth_methods=AUTH_METHODS,
            signing_keys=lambda _connector: (),
            profiles=PROFILES,
            default_cloud="dev",
            clock=FakeClock(),
            timeout_seconds=0.5,
            ledger=FakeLedger(),
        )

    async def create(self, resource_id: str = "", *, noted: Mapping[str, Any] | None = None, **azure: str) -> Connector:
        new = NewConnector(
            name="azure-blob-demo",
            type=ConnectorType.AZURE,
            auth_method="service-principal",
            resource_type=BLOB_CONTAINER,
            resource_id=resource_id,
            azure=AzureConfig(**{"tenant_id": TENANT, "client_id": CLIENT, "cloud": "", **azure}),
            secrets={"client_secret": Secret(PLANTED)},
            **(noted or {}),
        )
        connector, _ = await self.connector_admin.create(new, created_by="key:ops")
        self.cloud.calls.clear()
        self.cloud.forgotten.clear()
        return connector

    async def update(
        self, *, caller: Any = OPERATOR, secret: str = "", remove: Sequence[str] = (), **change: Any
    ) -> Connector:
        connector, _ = await self.reached(caller=caller, secret=secret, remove=remove, **change)
        return connector

    async def reached(
        self, *, caller: Any = OPERATOR, secret: str = "", remove: Sequence[str] = (), **change: Any
    ) -> tuple[Connector, Proof]:
        secrets = {"client_secret": Secret(secret)} if secret else {}
        asked = ConnectorChange(name="azure-blob-demo", secrets=secrets, remove=remove, **change)
        return await self.connector_admin.update(asked, caller)

    async def secret(self) -> str:
        connector = self.connector_admin.get("azure-blob-demo")
        value = (await self.replica.repository.credential(connector)).value
        assert isinstance(value, ClientSecret)
        return value.client_secret.reveal()


@pytest.fixture
def world() -> World:
    return World()


async def test_what_is_not_given_stays(world: World) -> None:
    """A change of one thing is a change of that one thing; identity and origin are never among them."""
    before = await world.create(
        "az://models", noted={"description": "d", "labels": {"a": "1", "b": "2"}, "expires_at": ENDS}
    )
    after = await world.update(labels={"b": "3", "c": ""})
    assert after == replace(before, labels=(("a", "1"), ("b", "3"), ("c", "")), version=2)
    assert after == world.connector_admin.get(before.name)
    assert not world.cloud.calls, "nobody is asked for a label"
    after = await world.update(description="e", expires_skew_tolerance=60, remove=("labels.a", "expire_time"))
    assert (after.description, after.labels, after.expires_at) == ("e", (("b", "3"), ("c", "")), None)
    after = await world.update(labels={"only": "this"}, remove=("labels", "description", "expires_skew_tolerance"))
    assert (after.labels, after.description, after.expires_skew_tolerance) == ((("only", "this"),), "", None)
    assert await world.secret() == PLANTED
    assert world.connector_admin.get(before.name).credential_version == 1


async def test_a_change_that_changes_nothing_writes_nothing(world: World) -> None:
    """A script that says the same every night leaves no versions behind; the secret included."""
    before = await world.create(noted={"labels": {"a": "1"}})
    writes = world.replica.store.calls["write"]
    assert await world.update(labels={"a": "1"}) == before
    assert await world.update(secret=PLANTED, azure={"client_id": CLIENT}) == before
    assert world.cloud.calls["log_in"] == 1, "what is said of the way is verified, be it the same"
    assert world.replica.store.calls["write"] == writes


async def test_a_new_secret_is_proved_and_becomes_a_version_of_its_own(world: World) -> None:
    """The one before stays until the next; what ended with it does not end the new one; what serves goes on."""
    before = await world.create("az://models", noted={"expires_at": ENDS})
    after, proof = await world.reached(secret=NEW)
    assert [container.name for container in proof.reach.containers] == ["models"]
    assert (after.credential_version, after.previous_credential_version, after.expires_at) == (2, 1, None)
    assert (after.uid, after.resource, after.unverified) == (before.uid, before.resource, False)
    assert await world.secret() == NEW
    assert before.uid not in world.cloud.forgotten
    await world.update(secret=PLANTED, expires_at=ENDS)
    store = world.replica.store
    readable = [version for version in (1, 2, 3) if await store.read("credentials/azure-blob-demo", version)]
    assert readable == [2, 3]
    assert world.connector_admin.get(before.name).expires_at == ENDS


async def test_a_change_that_does_not_work_changes_nothing(world: World) -> None:
    """Whoever mistypes a secret goes on with the old one, and is told Azure's word."""
    before = await world.create()
    writes = world.replica.store.calls["write"]
    with pytest.raises(BrokerError) as caught:
        await world.update(secret="WRONG~secret", description="new")
    assert caught.value.reason is Reason.CLOUD_CREDENTIAL_REJECTED
    assert world.replica.store.calls["write"] == writes
    assert world.connector_admin.get(before.name) == before


async def test_without_verification_nobody_is_asked_and_it_shows(world: World) -> None:
    """A secret that works in a minute can be stored now; a label later does not make it look verified."""
    await world.create("az://models")
    after = await world.update(secret="NOT~yet", no_verify=True)
    assert (after.unverified, after.credential_version) == (True, 2)
    assert not world.cloud.calls
    assert (await world.update(labels={"a": "b"})).unverified
    assert not (await world.update(secret=NEW)).unverified


@pytest.mark.parametrize(
    ("change", "resource", "account"),
    [
        ({"resource_id": "https://two.blob.dev.invalid/demo"}, ResourceId("demo", account="two"), "two"),
        ({"azure": {"storage_account": "one"}}, ResourceId("models", account="one"), "one"),
        ({"resource_id": "az://models"}, ResourceId("models", account="one"), ""),
        ({"remove": ("resource_id",)}, None, ""),
        ({"azure": {"storage_account": "two"}, "resource_id": "demo"}, ResourceId("demo", account="two"), "two"),
    ],
)
async def test_where_it_leads(
    world: World, change: Mapping[str, Any], resource: ResourceId | None, account: str
) -> None:
    """One resource, another, all; the account that was found stays with its container, another's is found anew."""
    await world.create("az://models")
    after = await world.update(**change)
    assert (after.resource, after.azure.storage_account) == (resource, account)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"remove": ("secret",)}, "remove"),
        ({"remove": ("labels.no label",)}, "remove"),
        ({"remove": ("labels.a",), "labels": {"a": "1"}}, "remove"),
        ({"remove": ("description",), "description": "d"}, "remove"),
        ({"remove": ("storage_account",), "azure": {"storage_account": "one"}}, "remove"),
        ({"remove": ("tenant_id",)}, "tenant_id"),
        ({"azure": {"tenant_id": "common"}}, "tenant_id"),
        ({"azure": {"cloud": "nowhere"}}, "cloud"),
        ({"azure": {"cloud": OTHER_PROFILE.name}}, "cloud"),
        ({"auth_method": "magic"}, "auth_method"),
        ({"resource_id": "az://demo/path"}, "resource_id"),
        ({"secret": f"{NEW}\n"}, "client_secret"),
        ({"expires_at": datetime.fromtimestamp(NOW, UTC)}, "expire_time"),
        ({"labels": {f"k{n}": "" for n in range(33)}}, "labels"),
    ],
)
async def test_what_is_malformed_changes_nothing(world: World, change: Mapping[str, Any], field: str) -> None:
    """Each rule names its field and asks nobody; a stored secret is sent to no other cloud."""
    before = await world.create()
    with pytest.raises(InvalidFieldError) as caught:
        await world.update(caller=ADMIN, **change)
    assert caught.value.field == field
    assert NEW not in str(caught.value)
    assert not world.cloud.calls
    assert world.connector_admin.get(before.name) == before


async def test_of_two_operators_one_wins(world: World) -> None:
    """What somebody else changed while a secret was being proved is not written over."""
    before = await world.create()
    other = Replica(world.replica.store)
    await other.repository.load()

    async def meanwhile(*_: object) -> bool:
        await other.repository.update_connector(replace(before, description="theirs"), None)
        return True

    world.cloud.accepts = meanwhile  # type: ignore[method-assign]
    with pytest.raises(BrokerError) as caught:
        await world.update(secret=NEW, description="mine")
    assert caught.value.reason is Reason.CONFLICT
    assert (world.connector_admin.get(before.name).description, await world.secret()) == ("theirs", PLANTED)


async def test_an_unknown_connector_is_not_made(world: World) -> None:
    """An update of what is not there, or was just deleted elsewhere, says so."""
    connector = await world.create()
    await Replica(world.replica.store).repository.delete_connector(connector.name, "key:ops")
    with pytest.raises(BrokerError) as caught:
        await world.update(secret=NEW)
    assert caught.value.reason is Reason.CONNECTOR_NOT_FOUND


async def test_a_connector_that_lost_its_secret_is_mended(world: World) -> None:
    """A secret that is gone from Vault can be given again; grants need not be made anew."""
    before = await world.create()
    await world.replica.repository.credentials_read()
    await world.replica.store.destroy("credentials/azure-blob-demo", [1])
    world.replica.repository._credentials.forget(before.uid)
    with pytest.raises(BrokerError):
        await world.update(azure={"storage_account": "one"})
    assert (await world.update(secret=NEW)).uid == before.uid
    assert await world.secret() == NEW


async def test_what_is_a_named_secrets_is_not_changed_at_the_connector(world: World) -> None:
    """Several connectors share it: the secret is changed by its own command; what the connector says itself, here."""
    before = await world.create("az://models")
    made = datetime.fromtimestamp(NOW, UTC)
    shared = NamedSecret(
        name="az-secret",
        uid="44444444-4444-4444-8444-444444444444",
        type=ConnectorType.AZURE,
        auth_method="service-principal",
        azure=AzureConfig(TENANT, CLIENT, "dev"),
        secret_fields=("client_secret",),
        credential_version=1,
        created_at=made,
        created_by="key:ops",
        updated_at=made,
        updated_by="key:ops",
    )
    used = shared.used_by(replace(before, azure=AzureConfig("", "", "")))

    def update(**change: Any) -> Connector:
        asked = ConnectorChange(name=before.name, **change)
        value = ClientSecret(Secret(PLANTED))
        definitions = world.connector_admin._definitions
        after, credential = changed(
            used,
            value,
            asked,
            shared=shared,
            definitions=definitions,
            auth_methods=AUTH_METHODS,
            clock=FakeClock(),
        )
        assert credential is None
        return after

    after = update(azure={"storage_account": "one"}, labels={"a": "b"})
    assert (after.azure, after.own_azure) == (
        AzureConfig(TENANT, CLIENT, "dev", "one"),
        AzureConfig("", "", "", "one"),
    )
    assert (after.secret_uid, after.resource, after.labels) == (shared.uid, used.resource, (("a", "b"),))
    assert update(remove=("resource_id",)).resource is None
    for change, field in (
        ({"secrets": {"client_secret": Secret(NEW)}}, "client_secret"),
        ({"auth_method": "account-key"}, "auth_method"),
        ({"azure": {"cloud": OTHER_PROFILE.name}}, "cloud"),
    ):
        with pytest.raises(InvalidFieldError) as caught:
            update(**change)
        assert caught.value.field == field


async def _grant(world: World, connector: Connector, **fields: Any) -> None:
    await world.replica.repository.create_grant(make_grant("training", connector, **fields))


async def test_an_operator_does_not_change_what_grants_mean(world: World) -> None:
    """Pointed at another account, a connector would hand out what no admin granted, or send results to a stranger's."""
    connector = await world.create(storage_account="one")
    elsewhere = {"azure": {"storage_account": "two"}}
    await _grant(world, connector)
    with pytest.raises(BrokerError) as caught:
        await world.update(**elsewhere)
    assert caught.value.reason is Reason.ROLE_REQUIRED
    assert caught.value.metadata["needs"] == "admin"
    assert "training" in caught.value.message
    assert not world.cloud.calls, "refused before anybody is asked"
    await world.update(secret=NEW, resource_id="models")
    with pytest.raises(BrokerError, match="needs the role admin"):
        await world.update(remove=("resource_id",))
    assert (await world.update(caller=ADMIN, remove=("resource_id",), **elsewhere)).azure.storage_account == "two"


@pytest.mark.parametrize("fields", [None, {"expires": NOW - 1}])
async def test_without_grants_an_operator_may(world: World, fields: Mapping[str, Any] | None) -> None:
    """As long as no grant that still holds is bound to it, a connector is the operator's own."""
    connector = await world.create(storage_account="one")
    if fields is not None:
        await _grant(world, connector, **fields)
    assert (await world.update(azure={"storage_account": "two"})).azure.storage_account == "two"


_FREE = make_connector("free")
_PINNED = make_connector("pinned", storage_account="one")
_SINGLE = make_connector("single", "models", account="one")
_OTHER_ID = "33333333-3333-4333-8333-333333333333"


def _with(connector: Connector, **azure: str) -> Connector:
    return replace(connector, azure=replace(connector.azure, **azure))


_IN_GROUP = _with(_FREE, resource_group="ml")


@pytest.mark.parametrize(
    ("before", "after", "elsewhere"),
    [
        (_FREE, _with(_FREE, storage_account="one"), True),
        (_FREE, _with(_FREE, subscription_id=_OTHER_ID, resource_group="ml"), False),
        (_FREE, replace(_FREE, resource=ResourceId("models", account="one")), True),
        (_FREE, replace(_FREE, resource=ResourceId("models")), False),
        (_FREE, _with(_FREE, client_id=_OTHER_ID), True),
        (_FREE, _with(_FREE, tenant_id=_OTHER_ID, storage_account="one"), True),
        (_FREE, replace(_FREE, auth_method="implicit"), True),
        (_FREE, _with(_FREE, cloud="elsewhere"), True),
        (_IN_GROUP, _FREE, True),
        (_IN_GROUP, _with(_IN_GROUP, storage_account="one"), True),
        (_IN_GROUP, replace(_IN_GROUP, resource=ResourceId("models", account="one")), True),
        (_IN_GROUP, replace(_IN_GROUP, resource=ResourceId("models")), False),
        (_PINNED, _with(_PINNED, client_id=_OTHER_ID, tenant_id=_OTHER_ID), False),
        (_PINNED, replace(_PINNED, auth_method="account-key"), False),
        (_PINNED, replace(_PINNED, resource=ResourceId("models", account="one")), False),
        (_PINNED, _with(_PINNED, storage_account=""), True),
        (_PINNED, _with(_PINNED, storage_account="two"), True),
        (_PINNED, _with(_PINNED, cloud="elsewhere"), True),
        (_SINGLE, _with(_SINGLE, storage_account="one", client_id=_OTHER_ID), False),
        (_SINGLE, replace(_SINGLE, resource=None), True),
        (_SINGLE, replace(_SINGLE, resource=ResourceId("demo", account="one")), True),
        (_SINGLE, replace(_SINGLE, resource=ResourceId("models", account="two")), True),
    ],
)
def test_what_leads_elsewhere(before: Connector, after: Connector, elsewhere: bool) -> None:
    """The same or less is not elsewhere; everything that could be more, or somebody else's, is."""
    assert leads_elsewhere(before, after) is elsewhere
    assert not leads_elsewhere(before, before)


@pytest.mark.parametrize("name", sorted(AUTH_METHODS))
def test_what_is_stored_can_be_given_again(name: str) -> None:
    """A connector keeps its secret through a change of what is not secret: Vault's document holds it by field."""
    method = AUTH_METHODS[name]
    given = {
        "service-principal": ({"tenant_id": TENANT, "client_id": CLIENT}, {"client_secret": PLANTED}),
        "account-key": ({"storage_account": "one"}, {"account_key": ACCOUNT_KEY}),
        "connection-string": ({}, {"connection_string": f"AccountName=one;AccountKey={ACCOUNT_KEY}"}),
        "implicit": ({"implicit_source": "managed-identity"}, {}),
    }.get(name)
    assert given is not None, "a new auth method: say what is given for it"
    azure, secrets = given
    profile = replace(PROFILE, implicit_sources=("managed-identity",))
    config, value = method.parse(
        AzureConfig(**{"tenant_id": "", "client_id": "", "cloud": "dev", **azure}),
        {field: Secret(text) for field, text in secrets.items()},
        profile,
    )
    again = {field: Secret(text) for field, text in method.encode(value).items() if text}
    assert method.parse(config, again, profile) == (config, value)


async def test_another_auth_method_takes_the_place_of_the_one_before(world: World) -> None:
    """What only the old one took goes, the account stays, and the secret of the new one has to be given."""
    await world.create("az://models")
    with pytest.raises(InvalidFieldError, match="account_key"):
        await world.update(auth_method="account-key")
    change = ConnectorChange(
        name="azure-blob-demo",
        auth_method="account-key",
        secrets={"account_key": Secret(ACCOUNT_KEY)},
        no_verify=True,
    )
    after, _ = await world.connector_admin.update(change, OPERATOR)
    assert (after.auth_method, after.azure) == ("account-key", AzureConfig("", "", "dev", "one"))
    assert (after.resource, after.credential_version) == (ResourceId("models", account="one"), 2)
    await world.update(
        secret=PLANTED, auth_method="service-principal", azure={"tenant_id": TENANT, "client_id": CLIENT}
    )
    assert await world.secret() == PLANTED


_STEPS: list[dict[str, str]] = [
    {"storage_account": "one"},
    {"storage_account": "two"},
    {"storage_account": ""},
    {"subscription_id": _OTHER_ID},
    {"subscription_id": ""},
    {"resource_group": "ml"},
    {"client_id": _OTHER_ID},
]


@pytest.mark.parametrize(
    "start",
    [_FREE, _PINNED, _IN_GROUP, _with(_FREE, subscription_id=_OTHER_ID)],
    ids=["free", "pinned", "in a group", "in a subscription"],
)
def test_no_chain_of_steps_leads_where_one_step_may_not(start: Connector) -> None:
    """Three updates that an operator may make, one after the other, reach nothing that one of them could not."""
    steps = [lambda c, step=step: _with(c, **step) for step in _STEPS]
    steps.append(lambda c: replace(c, auth_method="account-key"))
    steps.append(lambda c: replace(c, resource=ResourceId("models")))
    reached = [start]
    for _ in range(3):
        reached = [after for c in reached for step in steps if not leads_elsewhere(c, after := step(c))]
    assert reached
    assert not [each for each in reached if leads_elsewhere(start, each)]


async def test_a_grant_made_while_an_update_is_verified_counts(world: World) -> None:
    """What is checked before the cloud is asked may not hold any more when it has answered."""
    connector = await world.create(storage_account="one")
    log_in = world.cloud.log_in

    async def grants_meanwhile(*arguments: Any) -> None:
        await _grant(world, connector)
        await log_in(*arguments)

    world.cloud.log_in = grants_meanwhile  # type: ignore[method-assign]
    with pytest.raises(BrokerError, match="needs the role admin"):
        await world.update(azure={"storage_account": "two"})
    assert world.connector_admin.get(connector.name).azure.storage_account == "one"
