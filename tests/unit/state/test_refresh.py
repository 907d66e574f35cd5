"""How memory follows Vault: by the journal, by a full reading, and past documents that nobody can read."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from support.core import PLANTED, Replica, make_api_key, make_connector, make_grant
from support.fake_store import FakeStateStore
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Secret
from valetkey_broker.state.codec import encode_grant
from valetkey_broker.state.generation_document import JOURNAL_LENGTH, PATH, Generation, read_generation
from valetkey_broker.state.generation_document_writer import GenerationWriter
from valetkey_broker.state.memory_updates import FOLDERS

_AWAY = BrokerError(Reason.VAULT_UNAVAILABLE, "away", {"cause": "sealed"})


async def _fill(replica: Replica, count: int) -> None:
    for number in range(count):
        await replica.repository.create_connector(
            make_connector(f"connector-{number}", version=0), ClientSecret(Secret(PLANTED))
        )


async def _overwrite(store: FakeStateStore, path: str, data: dict[str, Any]) -> None:
    await store.write(path, data, expected=await store.newest(path))


async def test_an_idle_refresh_is_one_read() -> None:
    """Polling costs the same with one connector and with a thousand."""
    replica = Replica()
    await _fill(replica, 10)
    await replica.repository.refresh()
    await replica.repository.credentials_read()
    replica.store.calls.clear()
    await replica.repository.refresh()
    assert replica.store.calls == {"read": 1}


async def test_a_refresh_reads_only_what_changed() -> None:
    """A change costs one more read, not a listing."""
    store = FakeStateStore()
    writer, reader = Replica(store), Replica(store)
    await _fill(writer, 10)
    await reader.repository.load()
    await writer.repository.delete_connector("connector-3", "key:ops")
    await writer.repository.create_connector(make_connector("another", version=0), ClientSecret(Secret(PLANTED)))
    await writer.repository.credentials_read()
    await reader.repository.credentials_read()
    store.calls.clear()
    await reader.repository.refresh()
    await reader.repository.credentials_read()
    assert store.calls == {"read": 4}, "the generation, two connectors, one new credential"
    assert sorted(reader.memory.connectors) == sorted(writer.memory.connectors)
    assert len(reader.gone) == 1


async def test_a_journal_that_does_not_reach_back_means_a_full_reading() -> None:
    """A replica that slept too long misses nothing."""
    store = FakeStateStore()
    writer, reader = Replica(store), Replica(store)
    await writer.repository.create_api_key(make_api_key())
    await reader.repository.load()
    await writer.repository.revoke_api_key("trainer", "key:admin")
    for _ in range(JOURNAL_LENGTH):
        await GenerationWriter(store).announce("connectors/noise")
    store.calls.clear()
    await reader.repository.refresh()
    assert store.calls["names"] == len(FOLDERS)
    assert reader.memory.keys_by_name == {}
    assert reader.memory.keys_by_digest == {}


async def test_a_counter_that_goes_backwards_means_a_full_reading() -> None:
    """After Vault was restored from a backup, memory follows the backup."""
    store = FakeStateStore()
    replica = Replica(store)
    await _fill(replica, 3)
    await replica.repository.refresh()
    await _overwrite(store, "connectors/connector-0", {"deleted": True, "credential_version": 1})
    await _overwrite(store, PATH, {"counter": 1, "journal": [[1, "connectors/connector-2"]]})
    store.calls.clear()
    await replica.repository.refresh()
    assert store.calls["names"] == len(FOLDERS)
    assert sorted(replica.memory.connectors) == ["connector-1", "connector-2"]


@pytest.mark.parametrize(
    ("counter", "journal", "seen", "expected"),
    [
        (3, [(1, "a"), (2, "b"), (3, "a")], 3, set()),
        (3, [(1, "a"), (2, "b"), (3, "a")], 1, {"a", "b"}),
        (3, [(1, "a"), (2, "b"), (3, "a")], 0, {"a", "b"}),
        (3, [(3, "a")], 1, None),
        (3, [], 2, None),
        (3, [(1, "a"), (3, "b")], 1, None),
        (2, [(1, "a"), (2, "b")], 3, None),
        (0, [], -1, None),
    ],
)
def test_since(counter: int, journal: list[tuple[int, str]], seen: int, expected: set[str] | None) -> None:
    """The journal is believed only where it tells of every single change."""
    assert Generation(counter, tuple(journal)).since(seen) == expected


async def test_announcements_at_the_same_time_lose_nothing() -> None:
    """Each of many processes gets its own number, and its path into the journal."""
    store = FakeStateStore()
    paths = {f"connectors/c-{number}" for number in range(8)}
    await asyncio.gather(*(GenerationWriter(store).announce(path) for path in paths))
    generation, version = await read_generation(store)
    assert (generation.counter, version) == (8, 8)
    assert generation.since(0) == paths


async def test_announcements_of_one_process_share_a_write() -> None:
    """Many changes at once do not queue up behind one entry."""
    store = FakeStateStore()
    journal = GenerationWriter(store)
    await asyncio.gather(*(journal.announce(f"connectors/c-{number}") for number in range(8)))
    generation, version = await read_generation(store)
    assert (generation.counter, version) == (8, 1)
    assert generation.since(0) == {f"connectors/c-{number}" for number in range(8)}


async def test_the_journal_stays_short() -> None:
    """The one polled entry does not grow for ever."""
    store = FakeStateStore()
    journal = GenerationWriter(store)
    for _ in range(JOURNAL_LENGTH + 5):
        await journal.announce("connectors/a")
    assert len((await journal.read()).journal) == JOURNAL_LENGTH


class BusyStore(FakeStateStore):
    """A store in which somebody else is always faster."""

    async def write(self, path: str, data: Any, *, expected: int) -> int:
        await super().write(path, {"counter": 0, "journal": []}, expected=await self.newest(path))
        return await super().write(path, data, expected=expected)


async def test_an_announcement_that_never_wins_ends() -> None:
    """Contention becomes an error that says to try again, not a call that hangs."""
    with pytest.raises(BrokerError) as caught:
        await asyncio.wait_for(GenerationWriter(BusyStore()).announce("connectors/a"), 30)
    assert caught.value.reason is Reason.CONFLICT
    assert caught.value.retry_after is not None


@pytest.mark.parametrize(
    "data", [{}, {"counter": "x"}, {"counter": None}, {"counter": 9, "journal": [5]}, {"counter": 9, "journal": 5}]
)
async def test_a_malformed_generation_mends_itself(data: dict[str, Any]) -> None:
    """An entry that somebody spoiled by hand stops neither reading nor writing."""
    store = FakeStateStore()
    writer, reader = Replica(store), Replica(store)
    await _fill(writer, 2)
    await reader.repository.load()
    await _overwrite(store, PATH, data)
    await reader.repository.refresh()
    assert sorted(reader.memory.connectors) == ["connector-0", "connector-1"]
    await writer.repository.delete_connector("connector-0", "key:ops")
    await reader.repository.refresh()
    assert sorted(reader.memory.connectors) == ["connector-1"]
    assert (await read_generation(store))[0].counter == 1


_GOOD_KEY = {
    "uid": "u",
    "sha256": "00" * 32,
    "roles": ["viewer"],
    "expires_at": "2999-01-01T00:00:00+00:00",
    "created_at": "2026-01-01T00:00:00+00:00",
    "created_by": "test",
}


_GOOD_GRANT = encode_grant(make_grant("bad", make_connector()))


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("connectors/bad", {}),
        ("connectors/bad", {"resource": "text", "uid": "u"}),
        ("connectors/bad", {"resource": {"container": "UPPER", "account": "acc"}}),
        ("api-keys/bad", {}),
        ("api-keys/bad", {**_GOOD_KEY, "sha256": "not hex"}),
        ("api-keys/bad", {**_GOOD_KEY, "sha256": None}),
        ("api-keys/bad", {**_GOOD_KEY, "roles": ["emperor"]}),
        ("api-keys/bad", {**_GOOD_KEY, "expires_at": "tomorrow"}),
        ("api-keys/bad", {**_GOOD_KEY, "expires_at": "2999-01-01T00:00:00"}),
        ("api-keys/bad", {**_GOOD_KEY, "expires_at": 32472144000}),
        ("grants/bad", {}),
        *(
            ("grants/bad", {key: value for key, value in _GOOD_GRANT.items() if key != left_out})
            for left_out in _GOOD_GRANT
            if left_out != "labels"  # Grants of earlier versions have none.
        ),
        ("grants/bad", {**_GOOD_GRANT, "labels": {"team": 1}}),
        ("grants/bad", {**_GOOD_GRANT, "principals": []}),
        ("grants/bad", {**_GOOD_GRANT, "principals": "key:a"}),
        ("grants/bad", {**_GOOD_GRANT, "principals": ["*"]}),
        ("grants/bad", {**_GOOD_GRANT, "principals": [None]}),
        ("grants/bad", {**_GOOD_GRANT, "attributes": ["a"]}),
        ("grants/bad", {**_GOOD_GRANT, "attributes": None}),
        ("grants/bad", {**_GOOD_GRANT, "connectors": []}),
        ("grants/bad", {**_GOOD_GRANT, "connectors": ["azure-blob-demo"]}),
        ("grants/bad", {**_GOOD_GRANT, "containers": []}),
        ("grants/bad", {**_GOOD_GRANT, "prefixes": None}),
        ("grants/bad", {**_GOOD_GRANT, "prefixes": ["a/../b"]}),
        ("grants/bad", {**_GOOD_GRANT, "prefixes": [""]}),
        ("grants/bad", {**_GOOD_GRANT, "permissions": ""}),
        ("grants/bad", {**_GOOD_GRANT, "permissions": "rx"}),
        ("grants/bad", {**_GOOD_GRANT, "consumer_role": "emperor"}),
        ("grants/bad", {**_GOOD_GRANT, "max_ttl": 0}),
        ("grants/bad", {**_GOOD_GRANT, "max_ttl": True}),
        ("grants/bad", {**_GOOD_GRANT, "max_ttl": "1h"}),
        ("grants/bad", {**_GOOD_GRANT, "source_ip": "203.0.113.0/24"}),
        ("grants/bad", {**_GOOD_GRANT, "expires_at": "2999-01-01T00:00:00"}),
        ("grants/bad", {**_GOOD_GRANT, "expires_at": ""}),
    ],
)
async def test_a_malformed_document_is_ignored_and_told(path: str, data: dict[str, Any]) -> None:
    """A document that somebody edited by hand is not believed, is named in the log, and takes no other down."""
    store = FakeStateStore()
    writer, reader = Replica(store), Replica(store)
    await _fill(writer, 1)
    await writer.repository.create_api_key(make_api_key())
    await _overwrite(store, path, data)
    with capture_logs() as logs:
        await reader.repository.load()
    assert list(reader.memory.connectors) == ["connector-0"]
    assert list(reader.memory.keys_by_name) == ["trainer"]
    assert reader.memory.grants == {}
    (line,) = logs
    assert (line["path"], line["log_level"]) == (path, "error")


async def test_a_connector_that_becomes_malformed_is_no_longer_believed() -> None:
    """What was good once does not go on being used when its document says nothing any more."""
    replica = Replica()
    await _fill(replica, 1)
    await replica.repository.create_api_key(make_api_key())
    await _overwrite(replica.store, "connectors/connector-0", {"uid": "someone-else"})
    await _overwrite(replica.store, "api-keys/trainer", {"uid": "someone-else"})
    await replica.repository.load()
    assert replica.memory.connectors == {}
    assert replica.memory.keys_by_digest == {}
    assert len(replica.gone) == 1


class HandEditedStore(FakeStateStore):
    """A store with an entry whose name the broker would never give, and could not read."""

    async def names(self, folder: str) -> Sequence[str]:
        return ["Hand_Made", "../x", *await super().names(folder)]


async def test_an_impossible_name_does_not_stop_the_others() -> None:
    """Something odd in Vault is told and passed over; the broker starts all the same."""
    replica = Replica(HandEditedStore())
    await _fill(replica, 1)
    with capture_logs() as logs:
        await replica.repository.load()
    assert list(replica.memory.connectors) == ["connector-0"]
    assert {line["name"] for line in logs} == {"'Hand_Made'", "'../x'"}


async def test_what_vanished_without_a_tombstone_is_forgotten() -> None:
    """An entry removed in Vault itself is gone from memory at the next full reading."""
    store = FakeStateStore()
    writer, reader = Replica(store), Replica(store)
    await _fill(writer, 2)
    await writer.repository.create_api_key(make_api_key())
    await reader.repository.load()
    del store._versions["connectors/connector-0"]
    del store._versions["api-keys/trainer"]
    await reader.repository.load()
    assert list(reader.memory.connectors) == ["connector-1"]
    assert reader.memory.keys_by_digest == {}
    assert len(reader.gone) == 1


async def test_a_deleted_version_reads_as_gone() -> None:
    """An entry whose newest version was destroyed is not there, and its name can be used again."""
    store = FakeStateStore()
    replica = Replica(store)
    await _fill(replica, 1)
    await store.destroy("connectors/connector-0", [1])
    await replica.repository.load()
    assert replica.memory.connectors == {}
    await _fill(replica, 1)
    assert list(replica.memory.connectors) == ["connector-0"]


class LosesItsTail(FakeStateStore):
    """A store that is away right after a connector was written."""

    async def write(self, path: str, data: Any, *, expected: int) -> int:
        version = await super().write(path, data, expected=expected)
        if path.startswith("connectors/"):
            self.fail_with = _AWAY
        return version


async def test_a_change_stands_though_its_news_fails() -> None:
    """Vault goes away right after the write: the caller hears of success, and the next look finds the change."""
    replica = Replica(LosesItsTail())
    with capture_logs() as logs:
        await _fill(replica, 1)
    assert [line["path"] for line in logs] == ["connectors/connector-0"]
    assert replica.memory.connectors == {}
    replica.store.fail_with = None
    await replica.repository.refresh()
    assert list(replica.memory.connectors) == ["connector-0"]


async def test_an_outage_changes_nothing_in_memory() -> None:
    """A failed poll leaves what was known; the next good one catches up."""
    store = FakeStateStore()
    writer, reader = Replica(store), Replica(store)
    await _fill(writer, 1)
    await reader.repository.load()
    store.fail_with = _AWAY
    for look in (reader.repository.refresh, reader.repository.load):
        with pytest.raises(BrokerError):
            await look()
    assert list(reader.memory.connectors) == ["connector-0"]
    store.fail_with = None
    await writer.repository.delete_connector("connector-0", "key:ops")
    await reader.repository.refresh()
    assert reader.memory.connectors == {}
