"""StateRepository and connectors: one writer wins, secrets come and go with their connector, no death blocks a name."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import pytest

from support.core import PLANTED, Replica, make_connector
from support.fake_store import FakeStateStore
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Connector, Secret


async def _create(replica: Replica, name: str = "azure-blob-demo", secret: str = PLANTED) -> Connector:
    return await replica.repository.create_connector(make_connector(name, version=0), ClientSecret(Secret(secret)))


async def _secret(replica: Replica, connector: Connector) -> str:
    return (await replica.repository.credential(connector)).value.client_secret.reveal()


async def _readable_secrets(store: FakeStateStore, name: str = "azure-blob-demo") -> list[str]:
    newest = await store.newest(f"credentials/{name}")
    documents = [await store.read(f"credentials/{name}", version) for version in range(1, newest + 1)]
    return [document.data["client_secret"] for document in documents if document]


async def test_a_created_connector_is_known_at_once_and_to_others_at_their_next_look() -> None:
    """Who registers a connector may use it right away, through any replica."""
    store = FakeStateStore()
    one, other = Replica(store), Replica(store)
    connector = await _create(one)
    assert one.memory.connectors == {connector.name: connector}
    await other.repository.refresh()
    assert other.memory.connectors == {connector.name: connector}
    assert connector.credential_version == 1
    assert await _secret(other, connector) == PLANTED


async def test_connectors_survive_the_way_through_vault() -> None:
    """Every field, the single container with its account included, reads back as it was written."""
    store = FakeStateStore()
    draft = make_connector(resource="demo", account="demoaccount", storage_account="demoaccount", version=0)
    draft = replace(
        draft,
        azure=replace(draft.azure, subscription_id=draft.uid, resource_group="rg"),
        description="nightly",
        labels=(("example.com/team", "ml"), ("stage", "")),
        expires_at=draft.created_at,
        expires_skew_tolerance=0,
        unverified=True,
    )
    created = await Replica(store).repository.create_connector(draft, ClientSecret(Secret(PLANTED)))
    other = Replica(store)
    await other.repository.load()
    assert other.memory.connectors[draft.name] == created == replace(draft, credential_version=1, version=1)


async def _edited(change: Mapping[str, object], *, without: Sequence[str] = ()) -> Replica:
    """Returns a replica that reads a connector's document as somebody else wrote it."""
    store = FakeStateStore()
    await _create(Replica(store))
    document = await store.read("connectors/azure-blob-demo")
    assert document is not None
    data = {key: value for key, value in document.data.items() if key not in without}
    await store.write("connectors/azure-blob-demo", {**data, **change}, expected=1)
    replica = Replica(store)
    await replica.repository.load()
    return replica


async def test_a_connector_of_an_earlier_version_is_read() -> None:
    """An update of the broker does not need anybody to register anything again."""
    later = ("description", "labels", "expires_at", "expires_skew_tolerance", "unverified")
    replica = await _edited({}, without=(*later, "previous_credential_version", "keys_not_before"))
    (connector,) = replica.memory.connectors.values()
    assert (connector.labels, connector.expires_at, connector.unverified) == ((), None, False)


async def test_a_connector_of_a_later_version_is_read_and_keeps_what_it_has() -> None:
    """While replicas are updated one by one, the older ones serve on; what they change loses nothing."""
    azure = {**asdict(make_connector().azure), "directory": ""}
    replica = await _edited({"owner": "team", "azure": azure})
    await replica.repository.drop_signing_keys("azure-blob-demo", 5)
    document = await replica.store.read("connectors/azure-blob-demo")
    assert document is not None
    assert (document.data["owner"], document.data["keys_not_before"]) == ("team", 5)


async def test_where_a_connector_leads_is_never_half_understood() -> None:
    """What a later version narrows it by is not left out: such a connector is not believed."""
    azure = {**asdict(make_connector().azure), "directory": "only/here"}
    assert (await _edited({"azure": azure})).memory.connectors == {}
    resource = {"container": "demo", "account": "one"}
    for served in ({"resource_type": "queue"}, {"resource_type": None, "resource": resource}, {"resource_type": ["x"]}):
        assert (await _edited(served)).memory.connectors == {}


async def test_what_a_connector_serves_survives() -> None:
    """A document of before there were multi-type connectors is for its one type; one that names none is for all."""
    for served in ("blob-container", None):
        (connector,) = (await _edited({"resource_type": served})).memory.connectors.values()
        assert (connector.resource_type, connector.resource_types) == (served, ("blob-container",))


async def test_the_connector_document_holds_no_secret() -> None:
    """Whoever may read connectors in Vault cannot read credentials there."""
    store = FakeStateStore()
    await _create(Replica(store))
    document = await store.read("connectors/azure-blob-demo")
    assert document is not None
    assert PLANTED not in str(dict(document.data))


async def test_a_credential_is_read_from_vault_once() -> None:
    """The hot path does not wait for Vault, and goes on while Vault is away."""
    replica = Replica()
    connector = await _create(replica)
    assert await _secret(replica, connector) == PLANTED
    replica.store.fail_with = BrokerError(Reason.VAULT_UNAVAILABLE, "away")
    assert await _secret(replica, connector) == PLANTED


async def test_a_draft_does_not_leave_its_credential_in_memory() -> None:
    """Only connectors that exist keep a secret in memory."""
    replica = Replica()
    connector = await _create(replica)
    await replica.repository.credentials_read()
    other = Replica(replica.store)
    assert await _secret(other, connector) == PLANTED
    replica.store.calls.clear()
    assert await _secret(other, connector) == PLANTED
    assert replica.store.calls["read"] == 1


async def test_a_missing_credential_says_what_to_do() -> None:
    """A secret that somebody destroyed by hand is an error for people, not a crash."""
    store = FakeStateStore()
    connector = await _create(Replica(store))
    await store.destroy("credentials/azure-blob-demo", [1])
    replica = Replica(store)
    with pytest.raises(BrokerError, match="service-connector update azure-blob-demo") as caught:
        await replica.repository.credential(connector)
    assert caught.value.reason is Reason.VAULT_UNAVAILABLE


@pytest.mark.parametrize("anew", [False, True])
async def test_a_credential_whose_connector_went_just_now_is_a_conflict(anew: bool) -> None:
    """A replica that has not heard yet says to try again, and never to delete what somebody has just made."""
    replica = Replica()
    await _create(replica)
    late = Replica(replica.store)
    connector = replica.memory.connectors["azure-blob-demo"]
    await replica.repository.delete_connector(connector.name, "key:ops")
    if anew:
        await _create(replica)
    with pytest.raises(BrokerError, match="just now") as caught:
        await late.repository.credential(connector)
    assert caught.value.reason is Reason.CONFLICT
    assert caught.value.retry_after


async def test_a_taken_name_is_refused() -> None:
    """A second connector of the same name changes nothing of the first, its secret included."""
    replica = Replica()
    first = await _create(replica)
    with pytest.raises(BrokerError) as caught:
        await _create(replica, secret="other")
    assert caught.value.reason is Reason.CONNECTOR_EXISTS
    assert replica.memory.connectors == {first.name: first}
    assert await _readable_secrets(replica.store) == [PLANTED]


@pytest.mark.parametrize("writers", [2, 5])
async def test_of_creators_at_the_same_time_one_wins(writers: int) -> None:
    """The others are told, their secrets are destroyed, and the winner's works."""
    store = FakeStateStore()
    replicas = [Replica(store) for _ in range(writers)]
    outcomes = await asyncio.gather(
        *(_create(replica, secret=f"secret-{n}") for n, replica in enumerate(replicas)), return_exceptions=True
    )
    (winner,) = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Connector)]
    refusals = [outcome for outcome in outcomes if isinstance(outcome, BrokerError)]
    assert [refusal.reason for refusal in refusals] == [Reason.CONNECTOR_EXISTS] * (writers - 1)
    assert await _readable_secrets(store) == [f"secret-{winner}"]
    late = Replica(store)
    await late.repository.load()
    assert late.memory.connectors["azure-blob-demo"] == outcomes[winner]
    assert await _secret(late, late.memory.connectors["azure-blob-demo"]) == f"secret-{winner}"


async def test_delete_destroys_the_secret_and_frees_the_name() -> None:
    """After a deletion nothing of the credential can be read, and a namesake is somebody else."""
    replica = Replica()
    first = await _create(replica, secret="first")
    await _secret(replica, first)
    await replica.repository.delete_connector(first.name, "key:ops")
    assert replica.memory.connectors == {}
    assert replica.gone == [first.uid]
    assert await _readable_secrets(replica.store) == []
    second = await _create(replica, secret="second")
    assert second.uid != first.uid
    assert second.credential_version > first.credential_version
    assert await _secret(replica, second) == "second"
    assert replica.gone == [first.uid]


async def test_deleting_what_is_not_there_is_told() -> None:
    """Unknown and already deleted connectors are both not found."""
    replica = Replica()
    for _ in range(2):
        with pytest.raises(BrokerError) as caught:
            await replica.repository.delete_connector("azure-blob-demo", "key:ops")
        assert caught.value.reason is Reason.CONNECTOR_NOT_FOUND
    await _create(replica)
    await replica.repository.delete_connector("azure-blob-demo", "key:ops")
    with pytest.raises(BrokerError) as caught:
        await replica.repository.delete_connector("azure-blob-demo", "key:ops")
    assert caught.value.reason is Reason.CONNECTOR_NOT_FOUND


async def test_of_two_who_delete_at_the_same_time_one_is_told() -> None:
    """A deletion is a check-and-set too: nobody deletes what they have not seen."""
    store = FakeStateStore()
    one, other = Replica(store), Replica(store)
    await _create(one)
    outcomes = await asyncio.gather(
        *(replica.repository.delete_connector("azure-blob-demo", "key:ops") for replica in (one, other)),
        return_exceptions=True,
    )
    assert outcomes.count(None) == 1
    (refusal,) = [outcome for outcome in outcomes if isinstance(outcome, BrokerError)]
    assert refusal.reason in (Reason.CONFLICT, Reason.CONNECTOR_NOT_FOUND)


@pytest.mark.parametrize("head_start", range(12))
async def test_a_delete_that_races_a_create_takes_nothing_of_the_new_one(head_start: int) -> None:
    """However the two interleave, what is there afterwards works and what is not there has no secret."""
    store = FakeStateStore()
    deleter, creator = Replica(store), Replica(store)
    await _create(deleter, secret="old")
    deleting = asyncio.create_task(deleter.repository.delete_connector("azure-blob-demo", "key:ops"))
    for _ in range(head_start):
        await asyncio.sleep(0)
    created = await asyncio.gather(_create(creator, secret="new"), return_exceptions=True)
    await deleting
    late = Replica(store)
    await late.repository.load()
    if isinstance(created[0], Connector):
        assert late.memory.connectors["azure-blob-demo"] == created[0]
        assert await _secret(late, created[0]) == "new"
        assert await _readable_secrets(store) == ["new"]
    else:
        assert isinstance(created[0], BrokerError)
        assert created[0].reason is Reason.CONNECTOR_EXISTS
        assert late.memory.connectors == {}
        assert await _readable_secrets(store) == []


async def test_credentials_are_read_ahead() -> None:
    """Every worker can issue with Vault away: it has read the credentials of connectors old, new and changed."""
    store = FakeStateStore()
    writer, started_before = Replica(store), Replica(store)
    old = await _create(writer, "old")
    await started_before.repository.refresh()
    new = await _create(writer, "new")
    await started_before.repository.refresh()
    started_later = Replica(store)
    await started_later.repository.load()
    for replica in (started_before, started_later):
        await replica.repository.credentials_read()
    store.fail_with = BrokerError(Reason.VAULT_UNAVAILABLE, "away")
    for replica in (writer, started_before, started_later):
        for connector in (old, new):
            assert await _secret(replica, connector) == PLANTED


async def test_what_was_not_read_ahead_is_tried_again() -> None:
    """Vault away at that very moment: the next poll reads it; one that Vault lost is not asked for at each poll."""
    store = FakeStateStore()
    connector = await _create(Replica(store))
    await _create(Replica(store), "lost")
    await store.destroy("credentials/lost", [1])
    replica = Replica(store)
    await replica.repository.load()
    store.fail_with = BrokerError(Reason.VAULT_UNAVAILABLE, "away")
    await replica.repository.credentials_read()
    store.fail_with = None
    await replica.repository.refresh()
    await replica.repository.credentials_read()
    store.calls.clear()
    await replica.repository.refresh()
    await replica.repository.credentials_read()
    assert store.calls["read"] == 1
    store.fail_with = BrokerError(Reason.VAULT_UNAVAILABLE, "away")
    assert await _secret(replica, connector) == PLANTED


async def test_a_late_reader_of_an_old_credential_pushes_out_no_newer_one() -> None:
    """With Vault away afterwards, the connector goes on by what it has in use."""
    store = FakeStateStore()
    replica = Replica(store)
    before = await replica.repository.create_connector(make_connector(version=0), ClientSecret(Secret("old")))
    after = await replica.repository.update_connector(before, ClientSecret(Secret("new")))
    await replica.repository.credentials_read()
    await replica.repository.credential(before)
    store.fail_with = BrokerError(Reason.VAULT_UNAVAILABLE, "away")
    assert (await replica.repository.credential(after)).value == ClientSecret(Secret("new"))
