"""A process that dies at any write of any change: others finish or undo it, hear of it, and it can be repeated."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from support.core import PLANTED, Replica
from support.crashes import BY_NAME, CHANGES, CONNECTOR, Change, check_whole, die_during, knows, repeat
from support.fake_store import FakeStateStore
from valetkey_broker.ports import StateStore
from valetkey_broker.state.change_kinds import KINDS
from valetkey_broker.state.generation_document import read_generation

_MOST_WRITES = 6
_BOUNDARIES = pytest.mark.parametrize(
    ("lives", "effect"),
    [(lives, effect) for lives in range(_MOST_WRITES) for effect in (False, True)],
    ids=lambda value: {False: "before", True: "after"}.get(value, str(value)) if isinstance(value, bool) else None,
)


async def _crashed(change: Change, lives: int, *, effect: bool) -> tuple[FakeStateStore, Replica, bool]:
    """Returns the store after a crash, and a replica that knew of everything before it."""
    store = FakeStateStore()
    await change.prepare(Replica(store))
    watching = Replica(store, abandoned_seconds=0.0)
    await watching.repository.load()
    died = await die_during(change, store, lives, effect=effect)
    return store, watching, died


@pytest.mark.parametrize("change", CHANGES, ids=str)
@_BOUNDARIES
async def test_another_replica_settles_it(change: Change, lives: int, *, effect: bool) -> None:
    """At the next poll nothing is half done, and every replica knows what is there, and nothing else."""
    store, watching, died = await _crashed(change, lives, effect=effect)
    begun = bool((await read_generation(store))[0].intents)
    await watching.poll()
    await check_whole(store)
    assert [intent.path for intent, _ in watching.settled] == [change.path] * begun
    assert died or not begun
    for replica in (watching, Replica(store)):
        await replica.repository.refresh()
        late = Replica(store)
        await late.repository.load()
        assert replica.memory.connectors == late.memory.connectors
        assert replica.memory.grants == late.memory.grants
        assert replica.memory.revocations == late.memory.revocations
        assert replica.memory.keys_by_name == late.memory.keys_by_name


@pytest.mark.unmeasured
@pytest.mark.parametrize("change", CHANGES, ids=str)
@_BOUNDARIES
async def test_it_can_be_repeated_at_once(change: Change, lives: int, *, effect: bool) -> None:
    """Whoever repeats the command succeeds, or is told that it is done; the object can be used and removed then."""
    store, _, _ = await _crashed(change, lives, effect=effect)
    replica = Replica(store, abandoned_seconds=0.0)
    told = await repeat(change, replica)
    assert told in (change.told | {None})
    await replica.poll()
    await check_whole(store)
    assert knows(replica, change.path) is not change.removes


@pytest.mark.unmeasured
@pytest.mark.parametrize("change", [change for change in CHANGES if change.removes], ids=str)
@_BOUNDARIES
async def test_news_of_a_removal_cannot_be_lost(change: Change, lives: int, *, effect: bool) -> None:
    """Whoever removed it may die between the write and its announcement: the next poll knows, settled or not."""
    store, watching, _ = await _crashed(change, lives, effect=effect)
    document = await store.read(change.path)
    assert document is not None
    await watching.repository.refresh()
    assert knows(watching, change.path) is not bool(document.data.get("deleted"))


@pytest.mark.unmeasured
@pytest.mark.parametrize("change", CHANGES, ids=str)
@_BOUNDARIES
async def test_reconcilers_may_die_too(change: Change, lives: int, *, effect: bool) -> None:
    """A replica that dies while it settles leaves what the next one settles."""
    store, _, _ = await _crashed(change, lives, effect=effect)
    for second in range(_MOST_WRITES):
        await die_during(_settling(change), store, second, effect=not effect)
    last = Replica(store, abandoned_seconds=0.0)
    await last.poll()
    await check_whole(store)


@pytest.mark.unmeasured
@pytest.mark.parametrize("change", CHANGES, ids=str)
@_BOUNDARIES
async def test_two_reconcilers_at_once(change: Change, lives: int, *, effect: bool) -> None:
    """One takes it over, the others leave it alone: it is settled, and on record, once."""
    store, _, _ = await _crashed(change, lives, effect=effect)
    begun = bool((await read_generation(store))[0].intents)
    replicas = [Replica(store, abandoned_seconds=0.0) for _ in range(3)]
    await asyncio.gather(*(replica.repository.load() for replica in replicas))
    await asyncio.gather(*(replica.repository.settle_abandoned() for replica in replicas))
    await check_whole(store)
    assert sum(len(replica.settled) for replica in replicas) == int(begun)


def _settling(change: Change) -> Change:
    async def settle(replica: Replica) -> None:
        replica.repository._intents._abandoned_seconds = 0.0
        await replica.poll()

    return Change("settle", change.path, change.prepare, settle, frozenset())


async def test_every_kind_of_change_is_in_the_matrix() -> None:
    """A kind that comes later is crashed here too."""
    seen: set[str] = set()
    for change in CHANGES:
        for lives in range(_MOST_WRITES):
            store, _, _ = await _crashed(change, lives, effect=True)
            seen |= {str(raw["kind"]) for raw in (await read_generation(store))[0].intents.values()}
    assert seen == set(KINDS)


@pytest.mark.parametrize("change", CHANGES, ids=str)
async def test_every_boundary_is_in_the_matrix(change: Change) -> None:
    """A change of more writes than the matrix knows would be crashed in its first ones only."""
    _, _, died = await _crashed(change, _MOST_WRITES, effect=True)
    assert not died


async def _settle_amid(change: Change, step: int) -> tuple[StateStore, BaseException | object]:
    """Makes a change, with another replica that takes its writer for dead at one of its steps."""
    store = FakeStateStore()
    await change.prepare(Replica(store))
    making = asyncio.ensure_future(change.make(Replica(store)))
    for _ in range(step):
        await asyncio.sleep(0)
    hasty = Replica(store, abandoned_seconds=0.0)
    await hasty.repository.load()
    await hasty.repository.settle_abandoned()
    (outcome,) = await asyncio.gather(making, return_exceptions=True)
    return store, outcome


@pytest.mark.unmeasured
@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("step", range(0, 40, 2))
async def test_a_writer_that_was_only_slow_and_its_reconciler_agree(change: Change, step: int) -> None:
    """Taken for dead, a writer goes on: what it tells its caller is what is there, and nothing is half done."""
    store, outcome = await _settle_amid(change, step)
    last = Replica(store, abandoned_seconds=0.0)
    await last.poll()
    await check_whole(store, CONNECTOR.name)
    there = knows(last, change.path)
    if isinstance(outcome, BaseException):
        assert there is change.removes or change.changes, "told that it was not made"
    else:
        assert there is not change.removes, "told that it was made"


async def test_an_intent_of_a_newer_version_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that is older than the writer neither settles nor loses what it does not understand, and says so."""
    store = FakeStateStore()
    await die_during(CHANGES[0], store, 1, effect=True)
    document = await store.read("generation")
    assert document is not None
    (raw,) = document.data["intents"].values()
    newer = {**raw, "form": 2, "something": "new"}
    await store.write("generation", {**document.data, "intents": {raw["id"]: newer}}, expected=document.version)
    replica = Replica(store, abandoned_seconds=0.0)
    monkeypatch.setattr("valetkey_broker.state.intents_under_way._WAITING_SECONDS", 0.05)
    with capture_logs() as logs:
        await replica.poll()
        await replica.poll()
        told = await repeat(CHANGES[0], replica)
        assert await repeat(BY_NAME["admit-key"], replica) is None, "other objects can be changed"
    assert told is not None
    assert told.name == "CONFLICT"
    assert [line["form"] for line in logs] == ["2"]
    generation, _ = await read_generation(store)
    assert generation.intents == {raw["id"]: newer}
    assert replica.settled == []


class SlowStore(FakeStateStore):
    """A store that takes its time for secrets."""

    def __init__(self) -> None:
        super().__init__()
        self.done = asyncio.Event()

    async def write(self, path: str, data: Mapping[str, Any], *, expected: int) -> int:
        if path.startswith("credentials/"):
            await self.done.wait()
        return await super().write(path, data, expected=expected)


async def test_a_living_writer_is_left_alone() -> None:
    """However long Vault takes for a change, a writer that shows signs of life is not taken for dead."""
    store = SlowStore()
    making = asyncio.ensure_future(CHANGES[0].make(Replica(store, abandoned_seconds=0.5)))
    watching = Replica(store, abandoned_seconds=0.5)
    for _ in range(12):
        await asyncio.sleep(0.05)
        await watching.poll()
    assert watching.settled == []
    store.done.set()
    await making
    await watching.poll()
    await check_whole(store)


async def test_an_intent_holds_no_secret() -> None:
    """What finishing takes is kept in an entry that every replica polls; the secret itself is not."""
    for change in CHANGES:
        for lives in range(_MOST_WRITES):
            store, _, _ = await _crashed(change, lives, effect=True)
            kept = [
                await store.read("generation", version) for version in range(1, await store.newest("generation") + 1)
            ]
            assert PLANTED not in str([dict(document.data) for document in kept if document])
