"""The snapshot that a start takes instead of reading each document: right, or not taken."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from support.core import Replica, make_api_key, make_connector, make_grant
from support.crashes import BY_NAME, GRANT, die_during
from support.fake_store import FakeStateStore
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.model import Connector, Secret
from valetkey_broker.ports import Document
from valetkey_broker.state import startup_snapshot
from valetkey_broker.state.codec import encode_grant
from valetkey_broker.state.startup_snapshot import INDEX

_GRANTS = 12


class CountingStore(FakeStateStore):
    """Counts which documents are read."""

    def __init__(self) -> None:
        super().__init__()
        self.read_paths: list[str] = []

    async def read_many(self, paths: Sequence[str]) -> Sequence[Document | None]:
        self.read_paths += paths
        return await super().read_many(paths)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy is worth its while for few documents, and is of several parts."""
    monkeypatch.setattr(startup_snapshot, "_LEAST_DOCUMENTS", 5)
    monkeypatch.setattr(startup_snapshot, "_PART_CHARACTERS", 1000)


@pytest.fixture
async def store() -> CountingStore:
    """A store with a connector, a key and grants, whose copy is written."""
    store = CountingStore()
    writer = Replica(store)
    await writer.repository.load()
    await _register(writer)
    await writer.repository.create_api_key(make_api_key())
    for number in range(_GRANTS):
        await writer.repository.create_grant(make_grant(f"grant-{number}", writer.memory.connectors["azure-blob-demo"]))
    await _copied(store)
    return store


async def _register(replica: Replica) -> Connector:
    return await replica.repository.create_connector(make_connector(version=0), ClientSecret(Secret("secret")))


async def _copied(store: FakeStateStore) -> None:
    """Has a replica read everything and write the copy."""
    replica = Replica(store)
    replica.repository.loaded = True  # As one that serves: it reads each document.
    await replica.repository.load()
    await replica.repository.keep_snapshot()


async def _started(store: CountingStore) -> tuple[Replica, list[str]]:
    """Returns a replica that started, and the documents that it read by themselves."""
    store.read_paths.clear()
    replica = Replica(store)
    await replica.repository.load()
    return replica, [path for path in store.read_paths if not path.startswith(startup_snapshot.FOLDER)]


async def _same_as_read_one_by_one(replica: Replica, store: FakeStateStore) -> bool:
    each = Replica(store)
    each.repository.loaded = True
    await each.repository.load()
    return (
        replica.memory.connectors == each.memory.connectors
        and replica.memory.grants == each.memory.grants
        and replica.memory.keys_by_name == each.memory.keys_by_name
        and len(each.memory.grants) > 0
    )


async def test_a_start_takes_the_copy(store: CountingStore) -> None:
    """It reads no document by itself, knows the same, and is aware that it has not looked at each."""
    replica, read = await _started(store)
    assert read == []
    assert len(replica.memory.grants) == _GRANTS
    assert await _same_as_read_one_by_one(replica, store)
    assert not replica.repository.complete
    await replica.repository.load(gently=True)
    assert replica.repository.complete


async def test_what_changed_since_the_copy_is_read(store: CountingStore) -> None:
    """A grant that went, a key that was revoked, a grant that came: only these are read, and all of them count."""
    writer = Replica(store)
    await writer.repository.load()
    await writer.repository.delete_grant("grant-3", "key:admin")
    await writer.repository.revoke_api_key("trainer", "key:admin")
    await writer.repository.create_grant(make_grant("new", writer.memory.connectors["azure-blob-demo"]))
    replica, read = await _started(store)
    assert read == ["api-keys/trainer", "grants/grant-3", "grants/new"]
    assert "grant-3" not in replica.memory.grants
    assert replica.memory.keys_by_name == {}
    assert await _same_as_read_one_by_one(replica, store)


async def test_a_copy_older_than_the_journal_is_not_taken(store: CountingStore) -> None:
    """What changed since cannot be told any more: every document is read."""
    writer = Replica(store)
    await writer.repository.load()
    await writer.repository.delete_grant("grant-3", "key:admin")
    for number in range(70):
        await writer.repository.create_api_key(make_api_key(f"key-{number}"))
    replica, read = await _started(store)
    assert "grants/grant-4" in read
    assert "grant-3" not in replica.memory.grants
    assert replica.repository.complete


async def test_what_is_being_changed_is_read(store: CountingStore) -> None:
    """A change whose writer died before it announced it is not in the journal, but has an intent."""
    writer = Replica(store)
    await writer.repository.load()
    await writer.repository.create_grant(GRANT)
    await _copied(store)
    deleting = BY_NAME["delete-grant"]
    assert await die_during(deleting, store, 2, effect=False)
    replica, read = await _started(store)
    assert read == [deleting.path]
    assert GRANT.name not in replica.memory.grants


@pytest.mark.parametrize(
    "damage",
    [
        {INDEX: {"form": 2}},
        {INDEX: {"form": 1, "id": "x", "parts": 1, "counter": 1}},
        {INDEX: {"form": 1}},
        {f"{startup_snapshot.FOLDER}/part-1": {"id": "another writer's", "documents": "[]"}},
        {f"{startup_snapshot.FOLDER}/part-1": {"documents": 3}},
    ],
    ids=["newer form", "id of other parts", "nothing in it", "half written", "malformed"],
)
async def test_a_copy_that_does_not_fit_together_is_not_taken(
    store: CountingStore, damage: Mapping[str, Mapping[str, Any]]
) -> None:
    """A start never trusts half a copy: it reads every document instead."""
    for path, data in damage.items():
        await store.write(path, data, expected=await store.newest(path))
    replica, read = await _started(store)
    assert "grants/grant-4" in read
    assert len(replica.memory.grants) == _GRANTS


async def test_a_restored_vault_is_read_in_full(store: CountingStore) -> None:
    """A copy of a later generation than Vault has is of a time that never was."""
    document = await store.read(INDEX)
    assert document is not None
    await store.write(INDEX, {**document.data, "counter": 1_000_000}, expected=document.version)
    _, read = await _started(store)
    assert "grants/grant-4" in read


async def test_a_copy_is_written_again_only_when_it_is_due(store: CountingStore) -> None:
    """It costs as much as thousands of documents: few changes are left to the journal, edits by hand are not."""
    version = await store.newest(INDEX)
    await _copied(store)
    writer = Replica(store)
    await writer.repository.load()
    await writer.repository.delete_grant("grant-3", "key:admin")
    await _copied(store)
    assert await store.newest(INDEX) == version
    for number in range(16):
        await writer.repository.create_api_key(make_api_key(f"key-{number}"))
    await _copied(store)
    assert await store.newest(INDEX) == version + 1
    grant = writer.memory.grants["grant-4"]
    await store.write("grants/grant-4", {**encode_grant(grant), "note": "by hand"}, expected=grant.version)
    await _copied(store)
    assert await store.newest(INDEX) == version + 2


async def test_many_documents_that_came_by_hand_make_it_due(store: CountingStore) -> None:
    """As when documents were put back from a backup: changes that were announced besides do not hide them."""
    version = await store.newest(INDEX)
    writer = Replica(store)
    await writer.repository.load()
    grant = encode_grant(writer.memory.grants["grant-4"])
    for number in range(20):
        await store.write(f"grants/by-hand-{number}", {**grant, "name": f"by-hand-{number}"}, expected=0)
    await writer.repository.delete_grant("grant-3", "key:admin")
    await _copied(store)
    assert await store.newest(INDEX) == version + 1


async def test_old_copies_are_destroyed(store: CountingStore) -> None:
    """Vault keeps versions; each would be as large as all documents together."""
    writer = Replica(store)
    await writer.repository.load()
    for number in range(16):
        await writer.repository.create_api_key(make_api_key(f"key-{number}"))
    await _copied(store)
    part = f"{startup_snapshot.FOLDER}/part-0"
    assert await store.newest(part) == 2
    assert await store.read(part, 1) is None
    assert await store.read(part, 2) is not None


async def test_few_documents_have_no_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most installations are small: for them there is nothing to win."""
    monkeypatch.setattr(startup_snapshot, "_LEAST_DOCUMENTS", 200)
    store = FakeStateStore()
    await _register(Replica(store))
    await _copied(store)
    assert await store.newest(INDEX) == 0


async def test_the_copy_holds_no_long_lived_secret(store: CountingStore) -> None:
    """Credentials stay where they are; of API keys there are only hashes."""
    texts = [str(dict(document.data)) for path in store._versions for document in [await store.read(path)] if document]
    copies = [text for text in texts if "documents" in text]
    assert copies
    assert not any("client_secret" in text for text in copies)
