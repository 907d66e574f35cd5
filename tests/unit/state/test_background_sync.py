"""StateSync: when the broker serves, and when it says that it cannot."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from support.core import Replica, make_api_key
from support.fake_store import FakeStateStore
from valetkey_broker.concurrency.seconds_passed import SecondsPassed
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.ports import Document
from valetkey_broker.settings import VaultSettings
from valetkey_broker.state.background_sync import StateSync
from valetkey_broker.state.generation_document_writer import GenerationWriter

_AWAY = BrokerError(Reason.VAULT_UNAVAILABLE, "Vault is sealed", {"cause": "sealed"})


def _settings(**values: float) -> VaultSettings:
    defaults: dict[str, Any] = {"poll_seconds": 0.01, "resync_seconds": 1000, "max_stale_seconds": 1000}
    unused = Path("unused")
    return VaultSettings(
        address="https://vault.invalid", role_id_file=unused, secret_id_file=unused, **{**defaults, **values}
    )


class Syncing:
    """A running StateSync and what it said."""

    def __init__(self, store: FakeStateStore, settings: VaultSettings) -> None:
        self.replica = Replica(store)
        self.heard: list[bool] = []
        self.slept = 0.0
        passed = SecondsPassed(since_boot=lambda: time.monotonic() + self.slept)
        self.sync = StateSync(store, self.replica.repository, settings, self.heard.append, passed)

    def refusal(self) -> BrokerError:
        with pytest.raises(BrokerError) as caught:
            self.sync.require_usable()
        return caught.value


@contextlib.asynccontextmanager
async def _running(store: FakeStateStore, **values: float) -> AsyncIterator[Syncing]:
    syncing = Syncing(store, _settings(**values))
    task = asyncio.create_task(syncing.sync.run())
    try:
        yield syncing
    finally:
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.005)


async def test_serves_once_everything_is_loaded() -> None:
    """Health says SERVING only when requests can be answered from memory."""
    store = FakeStateStore()
    await Replica(store).repository.create_api_key(make_api_key())
    syncing = Syncing(store, _settings())
    refusal = syncing.refusal()
    assert refusal.reason is Reason.NOT_SERVING
    assert refusal.retry_after is not None
    async with _running(store) as running:
        await _until(lambda: bool(running.heard))
        assert running.heard == [True]
        assert "trainer" in running.replica.memory.keys_by_name
        assert store.opened
        running.sync.require_usable()


class OddStore(FakeStateStore):
    """A store that fails in a way nobody thought of, until `odd` is set to False."""

    odd = True

    async def open(self) -> None:
        await super().open()
        if self.odd:
            raise KeyError("PLANTED")


async def test_waits_for_vault_at_the_start() -> None:
    """Vault away, or sealed, at the start: the broker says so, does not serve, and comes up by itself."""
    store = FakeStateStore()
    store.fail_with = _AWAY
    with capture_logs() as logs:
        async with _running(store) as running:
            await _until(lambda: bool(logs))
            assert running.refusal().reason is Reason.NOT_SERVING
            assert running.heard == []
            store.fail_with = None
            await _until(lambda: running.heard == [True])
    assert (logs[0]["error"], logs[0]["cause"]) == ("Vault is sealed", "sealed")


async def test_an_unexpected_failure_at_the_start_does_not_end_it() -> None:
    """A broker must not stay silent and useless for ever because of one odd answer; its text stays inside."""
    store = OddStore()
    with capture_logs() as logs:
        async with _running(store) as running:
            await _until(lambda: bool(logs))
            store.odd = False
            await _until(lambda: running.heard == [True])
    assert logs[0]["error"] == "KeyError"
    assert "PLANTED" not in str(logs)


async def test_goes_on_from_memory_until_it_is_too_old() -> None:
    """With Vault away the broker serves for the configured time, then refuses, and recovers by itself."""
    store = FakeStateStore()
    with capture_logs() as logs:
        async with _running(store, max_stale_seconds=0.4) as running:
            await _until(lambda: running.heard == [True])
            store.fail_with = _AWAY
            await _until(lambda: any("serving from memory" in line["event"] for line in logs))
            running.sync.require_usable()
            assert running.replica.repository.catching_up.vault_away, "nobody waits for it"
            await _until(lambda: running.heard == [True, False])
            refusal = running.refusal()
            assert refusal.reason is Reason.VAULT_UNAVAILABLE
            assert refusal.metadata == {"cause": "stale"}
            store.fail_with = None
            await _until(lambda: running.heard == [True, False, True])
            running.sync.require_usable()
            assert not running.replica.repository.catching_up.vault_away
    events = [line["event"] for line in logs]
    assert events.count("Vault is away; serving from memory") == 1, "an outage is one line, not one a poll"
    assert "Vault is back" in events


async def test_an_unexpected_failure_while_polling_counts_as_an_outage() -> None:
    """A loop that ends would leave revoked keys valid for ever: it goes on, and staleness is counted."""
    store = FakeStateStore()
    async with _running(store, max_stale_seconds=0.1) as running:
        await _until(lambda: running.heard == [True])
        good, running.replica.repository._store = running.replica.repository._store, None  # type: ignore[assignment]
        await _until(lambda: running.heard == [True, False])
        running.replica.repository._store = good
        await _until(lambda: running.heard == [True, False, True])


async def test_changes_of_others_arrive_by_polling() -> None:
    """A key that another replica admits works here within the polling time."""
    store = FakeStateStore()
    async with _running(store) as running:
        await _until(lambda: running.heard == [True])
        await Replica(store).repository.create_api_key(make_api_key())
        await _until(lambda: "trainer" in running.replica.memory.keys_by_name)


async def test_a_full_reading_now_and_then_finds_what_was_never_announced() -> None:
    """A writer that died between its two writes is covered by the resync."""
    store = FakeStateStore()
    await GenerationWriter(store).announce("connectors/noise")
    other = FakeStateStore()
    await Replica(other).repository.create_api_key(make_api_key())
    async with _running(store, resync_seconds=0.05) as running:
        await _until(lambda: running.heard == [True])
        store._versions["api-keys/trainer"] = other._versions["api-keys/trainer"]
        await _until(lambda: "trainer" in running.replica.memory.keys_by_name)


async def test_a_snapshot_that_cannot_be_written_does_not_end_the_polling() -> None:
    """What only makes the next start quicker must not keep the news of revoked keys from coming."""
    store = FakeStateStore()
    with capture_logs() as logs:
        async with _running(store, resync_seconds=0.01) as running:
            await _until(lambda: running.heard == [True])
            running.replica.repository._snapshots = None  # type: ignore[assignment]
            await _until(lambda: any("snapshot" in line["event"] for line in logs))
            await Replica(store).repository.create_api_key(make_api_key())
            await _until(lambda: "trainer" in running.replica.memory.keys_by_name)


async def test_a_poll_without_an_end_counts_as_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vault answers so slowly that a reading takes for ever: memory is not believed longer than the settings say."""
    monkeypatch.setattr("valetkey_broker.state.background_sync._LONG_POLL_SECONDS", 0.0)
    store = StoreThatHangs()
    async with _running(store, max_stale_seconds=0.2) as running:
        await _until(lambda: running.heard != [])
        store.answers.clear()
        await _until(lambda: not running.sync._usable)
        assert running.refusal().metadata == {"cause": "stale"}
        store.answers.set()
        await _until(lambda: running.sync._usable)


class StoreThatHangs(FakeStateStore):
    """A store that answers no question while `answers` is not set."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()
        self.answers.set()

    async def read(self, path: str, version: int | None = None) -> Document | None:
        await self.answers.wait()
        return await super().read(path, version)


async def test_a_machine_that_was_suspended_asks_vault_first() -> None:
    """What was revoked while it slept is not honoured for a moment, and nobody waits for the next poll."""
    store = FakeStateStore()
    key = make_api_key()
    await Replica(store).repository.create_api_key(key)
    async with _running(store, poll_seconds=50.0) as running:
        await _until(lambda: bool(running.heard))
        running.sync.require_usable()
        await Replica(store).repository.revoke_api_key("trainer", "key:admin")
        running.slept += 1800.0
        refusal = running.refusal()
        assert refusal.reason is Reason.NOT_SERVING
        assert "was suspended" in refusal.message
        await _until(lambda: "trainer" not in running.replica.memory.keys_by_name)
        await _until(lambda: _usable(running))
        assert running.heard == [True], "health is not told of such a moment"


async def test_a_machine_that_was_suspended_with_vault_away_serves_no_longer_than_any_other() -> None:
    """The time it slept is time in which memory grew older; within what is allowed it goes on, once it has tried."""
    store = FakeStateStore()
    async with _running(store, max_stale_seconds=3600.0, poll_seconds=1.0) as running:
        await _until(lambda: bool(running.heard))
        store.fail_with = _AWAY
        running.slept += 1800.0
        assert running.refusal().reason is Reason.NOT_SERVING
        await _until(lambda: _usable(running))
        running.slept += 1801.0
        assert running.refusal().reason is Reason.NOT_SERVING
        assert running.sync.seconds_left() == 0.0
        await _until(lambda: running.heard == [True, False])
        assert running.refusal().reason is Reason.VAULT_UNAVAILABLE


async def test_memory_that_is_to_be_hardly_older_than_a_poll_serves_between_two_polls() -> None:
    """Who allows it no age to speak of has a broker that stops with Vault, and not one that stops now and then."""
    async with _running(FakeStateStore(), max_stale_seconds=5.0, poll_seconds=50.0) as running:
        await _until(lambda: bool(running.heard))
        running.slept += 40.0
        running.sync.require_usable()
        running.slept += 80.0
        assert running.refusal().reason is Reason.NOT_SERVING


async def test_a_poll_that_hangs_is_not_between_two_polls() -> None:
    """Memory that may hardly be older than a poll is not believed for as long as Vault keeps a poll waiting."""
    store = StoreThatHangs()
    async with _running(store, max_stale_seconds=5.0, poll_seconds=60.0, timeout_seconds=20.0) as running:
        await _until(lambda: bool(running.heard))
        store.answers.clear()
        running.sync._at_once.set()
        await _until(lambda: running.sync._polling_since is not None)
        running.slept += 10.0
        running.sync.require_usable()
        running.slept += 15.0
        assert running.refusal().reason is Reason.VAULT_UNAVAILABLE
        store.answers.set()


def _usable(running: Syncing) -> bool:
    with contextlib.suppress(BrokerError):
        running.sync.require_usable()
        return True
    return False
