"""StateRepository and named secrets: shared by connectors, changed for all of them at once, never gone under one."""

import asyncio
from dataclasses import replace

import pytest

from support.core import PLANTED, Replica, make_connector, make_secret, make_sharing_connector
from support.crashes import check_whole
from support.fake_store import FakeStateStore
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import AzureConfig, Connector, NamedSecret, Secret

_OTHER_TENANT = "99999999-9999-4999-8999-999999999999"


async def _create(replica: Replica, name: str = "az_secret", value: str = PLANTED) -> NamedSecret:
    return await replica.repository.create_secret(make_secret(name), ClientSecret(Secret(value)))


async def _share(replica: Replica, secret: NamedSecret, name: str = "azure-blob-demo") -> Connector:
    return await replica.repository.create_sharing_connector(make_sharing_connector(secret, name))


async def _update(replica: Replica, secret: NamedSecret, value: str, tenant: str = "") -> NamedSecret:
    azure = replace(secret.azure, tenant_id=tenant or secret.azure.tenant_id)
    after = replace(secret, azure=azure)
    return await replica.repository.update_secret(secret, after, ClientSecret(Secret(value)), verified=None)


async def _value(replica: Replica, name: str = "azure-blob-demo") -> str:
    credential = await replica.repository.credential(replica.memory.connectors[name])
    assert isinstance(credential.value, ClientSecret)
    return credential.value.client_secret.reveal()


async def test_a_connector_works_with_its_secret() -> None:
    """What a connector takes from a named secret looks, to all who use the connector, as if it were its own."""
    store = FakeStateStore()
    writer, reader = Replica(store), Replica(store)
    secret = await _create(writer)
    created = await _share(writer, secret)
    for replica in (writer, reader):
        await replica.repository.refresh()
        connector = replica.memory.connectors[created.name]
        assert connector == created
        assert (connector.auth_method, connector.azure) == (secret.auth_method, secret.azure)
        assert (connector.credential_version, connector.secret) == (1, "az_secret")
        assert await _value(replica) == PLANTED


async def test_documents_hold_no_secret() -> None:
    """Whoever may read connectors and named secrets in Vault cannot read a value there."""
    replica = Replica()
    await _share(replica, await _create(replica))
    for path in ("connectors/azure-blob-demo", "secrets/az_secret", "generation"):
        document = await replica.store.read(path)
        assert document is not None
        assert PLANTED not in str(dict(document.data))


async def test_an_update_reaches_all_connectors_on_all_replicas() -> None:
    """At its next look every replica works with the new value, for each connector that shares it, and reads it once."""
    store = FakeStateStore()
    writer, reader = Replica(store), Replica(store)
    secret = await _create(writer)
    names = [f"connector-{n}" for n in range(3)]
    for name in names:
        await _share(writer, secret, name)
    await reader.repository.refresh()
    await reader.repository.credentials_read()
    await _update(writer, secret, "new", _OTHER_TENANT)
    await reader.repository.refresh()
    await reader.repository.credentials_read()
    store.fail_with = BrokerError(Reason.VAULT_UNAVAILABLE, "away")
    for name in names:
        connector = reader.memory.connectors[name]
        assert (connector.credential_version, connector.azure.tenant_id) == (2, _OTHER_TENANT)
        assert await _value(reader, name) == "new"
    assert reader.gone == [], "grants and streams hold on to the connector's uid"


async def test_a_replica_that_lags_behind_goes_on() -> None:
    """The value before the last is kept until the next one: not everybody hears of an update at the same moment."""
    store = FakeStateStore()
    writer = Replica(store)
    secret = await _create(writer)
    await _share(writer, secret)
    lagging = Replica(store)
    await lagging.repository.load()
    await _update(writer, secret, "new")
    assert await _value(lagging) == PLANTED


async def test_what_a_connector_says_itself_stays_its_own() -> None:
    """An update of the secret does not take away what narrows one connector, nor does dropping keys fix the rest."""
    replica = Replica()
    secret = await _create(replica)
    own = replace(make_connector(version=0), auth_method="", azure=AzureConfig("", "", "", storage_account="mine"))
    await replica.repository.create_sharing_connector(secret.used_by(own))
    await replica.repository.drop_signing_keys(own.name, 1_800_000_000)
    await _update(replica, secret, "new", _OTHER_TENANT)
    late = Replica(replica.store)
    await late.repository.load()
    for each in (replica, late):
        connector = each.memory.connectors[own.name]
        assert connector.azure == AzureConfig(_OTHER_TENANT, secret.azure.client_id, "dev", storage_account="mine")
        assert connector.keys_not_before == 1_800_000_000


async def test_a_rename_keeps_connectors_working_at_every_moment() -> None:
    """Connectors refer to the secret itself: no replica is without it, in whichever order it reads the two names."""
    store = FakeStateStore()
    writer = Replica(store)
    secret = await _create(writer)
    await _share(writer, secret)
    reader = Replica(store)
    await reader.repository.load()
    await reader.repository.credentials_read()
    await writer.repository.rename_secret(secret, "az_new", "key:ops")
    # As if the old name had been read after the rename, and the new one before.
    await reader.repository._reload(["secrets/az_secret"])
    assert await _value(reader) == PLANTED
    await reader.repository.refresh()
    assert reader.memory.connectors["azure-blob-demo"].secret == "az_new"
    assert list(reader.memory.secrets) == ["az_new"]
    assert reader.gone == []
    await check_whole(store)


async def test_a_name_is_free_after_a_rename_and_after_a_deletion() -> None:
    """A later secret of the same name is another one: no connector gets it in place of its own."""
    replica = Replica()
    first = await _create(replica)
    await _share(replica, first)
    await replica.repository.rename_secret(first, "az_new", "key:ops")
    second = await _create(replica, value="second")
    assert second.uid != first.uid
    assert await _value(replica) == PLANTED
    await replica.repository.delete_secret("az_secret", "key:ops")
    third = await _create(replica, value="third")
    await _share(replica, third, "another")
    assert await _value(replica, "another") == "third"
    await check_whole(replica.store)


async def test_renaming_to_a_taken_name_is_refused() -> None:
    """Nothing is written over."""
    replica = Replica()
    secret = await _create(replica)
    await _create(replica, "taken")
    with pytest.raises(BrokerError) as caught:
        await replica.repository.rename_secret(secret, "taken", "key:ops")
    assert caught.value.reason is Reason.SECRET_EXISTS
    assert sorted(replica.memory.secrets) == ["az_secret", "taken"]


async def test_a_secret_in_use_is_not_deleted() -> None:
    """Also where this replica has not heard of its users; without them it goes, its value included."""
    store = FakeStateStore()
    writer, other = Replica(store), Replica(store)
    secret = await _create(writer)
    await other.repository.refresh()
    await _share(writer, secret, "one")
    await _share(writer, secret, "two")
    with pytest.raises(BrokerError, match="used by one, two") as caught:
        await other.repository.delete_secret(secret.name, "key:ops")
    assert caught.value.reason is Reason.SECRET_IN_USE
    assert await _value(other, "two") == PLANTED
    for name in ("one", "two"):
        await writer.repository.delete_connector(name, "key:ops")
    assert await store.read(f"shared-credentials/{secret.uid}"), "deleting a connector leaves what others may use"
    await other.repository.delete_secret(secret.name, "key:ops")
    assert await store.read(f"shared-credentials/{secret.uid}") is None
    with pytest.raises(BrokerError) as caught:
        await other.repository.delete_secret(secret.name, "key:ops")
    assert caught.value.reason is Reason.SECRET_NOT_FOUND
    await check_whole(store)


@pytest.mark.parametrize("head_start", range(24))
async def test_a_deletion_that_races_a_registration_leaves_no_connector_without_secret(head_start: int) -> None:
    """However the two interleave, one is told: either the secret is gone and nobody uses it, or it is in use."""
    store = FakeStateStore()
    deleter, registrar = Replica(store), Replica(store)
    secret = await _create(deleter)
    await registrar.repository.refresh()
    deleting = asyncio.create_task(deleter.repository.delete_secret(secret.name, "key:ops"))
    for _ in range(head_start):
        await asyncio.sleep(0)
    (registered,) = await asyncio.gather(_share(registrar, secret), return_exceptions=True)
    (deleted,) = await asyncio.gather(deleting, return_exceptions=True)
    await check_whole(store)
    late = Replica(store)
    await late.repository.load()
    if isinstance(registered, BaseException):
        assert isinstance(registered, BrokerError)
        assert registered.reason in (Reason.SECRET_NOT_FOUND, Reason.CONFLICT)
        assert deleted is None
        assert (late.memory.connectors, late.memory.secrets) == ({}, {})
    else:
        assert isinstance(deleted, BrokerError)
        assert deleted.reason is Reason.SECRET_IN_USE
        assert await _value(late) == PLANTED


@pytest.mark.parametrize("head_start", range(0, 24, 2))
async def test_of_two_updates_at_once_one_is_told(head_start: int) -> None:
    """Both began with the same value: the later one would write over what it has not seen."""
    store = FakeStateStore()
    one, other = Replica(store), Replica(store)
    secret = await _create(one)
    await _share(one, secret)
    await other.repository.refresh()
    first = asyncio.create_task(_update(one, secret, "first"))
    for _ in range(head_start):
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(first, _update(other, secret, "second"), return_exceptions=True)
    (winner,) = [each for each in outcomes if isinstance(each, NamedSecret)]
    (refusal,) = [each for each in outcomes if isinstance(each, BrokerError)]
    assert refusal.reason is Reason.CONFLICT
    late = Replica(store)
    await late.repository.load()
    assert late.memory.secrets == {"az_secret": winner}
    assert await _value(late) == ("first" if outcomes[0] is winner else "second")
    await check_whole(store)


async def test_an_update_that_was_tried_without_a_user_is_refused() -> None:
    """A connector that came to use the secret meanwhile might not work with the new value."""
    store = FakeStateStore()
    updater, registrar = Replica(store), Replica(store)
    secret = await _create(updater)
    await _share(registrar, secret)
    with pytest.raises(BrokerError, match="azure-blob-demo began to use") as caught:
        await updater.repository.update_secret(secret, secret, ClientSecret(Secret("new")), verified=())
    assert caught.value.reason is Reason.CONFLICT
    assert await _value(registrar) == PLANTED
    await check_whole(store)


async def test_a_registration_with_a_value_that_is_not_the_latest_is_refused() -> None:
    """It was verified with the value before."""
    replica = Replica()
    secret = await _create(replica)
    await _update(replica, secret, "new")
    with pytest.raises(BrokerError) as caught:
        await _share(replica, secret)
    assert caught.value.reason is Reason.CONFLICT
    assert replica.memory.connectors == {}


async def test_a_connector_whose_secret_is_gone_takes_nothing_down() -> None:
    """Removed by hand: the connector cannot be used, the others can, and it can be deleted."""
    store = FakeStateStore()
    writer = Replica(store)
    await _share(writer, await _create(writer))
    await _share(writer, await _create(writer, "other"), "works")
    del store._versions["secrets/az_secret"]
    late = Replica(store)
    await late.repository.load()
    assert list(late.memory.connectors) == ["works"]
    await late.repository.delete_connector("azure-blob-demo", "key:ops")


async def test_a_value_that_is_gone_says_what_to_do() -> None:
    """A value that somebody destroyed by hand can be given again, without touching the connectors."""
    store = FakeStateStore()
    writer = Replica(store)
    secret = await _create(writer)
    await _share(writer, secret)
    await store.destroy(f"shared-credentials/{secret.uid}", [1])
    late = Replica(store)
    await late.repository.load()
    with pytest.raises(BrokerError, match="valetkey secret update az_secret"):
        await _value(late)
    await _update(writer, secret, "again")
    await late.repository.refresh()
    assert await _value(late) == "again"
