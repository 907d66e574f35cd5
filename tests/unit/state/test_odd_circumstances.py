"""Changes cut off while something else is wrong, too: clocks, entries removed by hand, a Vault that is sealed."""

import time

import pytest

from support.core import Replica
from support.crashes import CHANGES, SECRET, Change, check_whole, die_during, repeat
from support.fake_store import FakeStateStore
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.state.change_kinds import BURY
from valetkey_broker.state.generation_document import PATH
from valetkey_broker.state.intent import Intent, encode_intent

_SEALED = BrokerError(Reason.VAULT_UNAVAILABLE, "sealed", {"cause": "sealed"})
_BEGUN = pytest.mark.parametrize("change", CHANGES, ids=str)


async def _begun(change: Change) -> FakeStateStore:
    """Returns the store after a process died that had written its intent and nothing else."""
    store = FakeStateStore()
    await change.prepare(Replica(store))
    await die_during(change, store, 0, effect=True)
    return store


@_BEGUN
@pytest.mark.parametrize("ahead", [-960.0, 960.0])
async def test_clocks_that_differ(monkeypatch: pytest.MonkeyPatch, change: Change, ahead: float) -> None:
    """A replica whose clock is 16 minutes off settles what others left, and leaves alone what others work on."""
    store = await _begun(change)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + ahead)
    patient, hasty = Replica(store, abandoned_seconds=60.0), Replica(store, abandoned_seconds=0.0)
    await patient.poll()
    assert patient.settled == []
    await hasty.poll()
    assert len(hasty.settled) == 1
    await check_whole(store)


@_BEGUN
async def test_an_object_removed_by_hand(change: Change) -> None:
    """What somebody removes in Vault amid a change is no reason to hang on to the change."""
    store = await _begun(change)
    belongs = ("shared-credentials/", "connectors/sharing") if change.path == f"secrets/{SECRET}" else ()
    for path in [path for path in store._versions if path.startswith(belongs)]:
        del store._versions[path]
    credentials = "rotation-credentials" if change.path.startswith("rotations/") else "credentials"
    for path in (change.path, f"{credentials}/azure-blob-demo"):
        store._versions.pop(path, None)
    replica = Replica(store, abandoned_seconds=0.0)
    await replica.poll()
    await check_whole(store)
    assert len(replica.settled) == 1


@_BEGUN
async def test_the_polled_entry_removed_by_hand(change: Change) -> None:
    """With it go the changes under way; those that were cut off can be repeated, and the others go on."""
    store = await _begun(change)
    del store._versions["generation"]
    replica = Replica(store, abandoned_seconds=0.0)
    assert await repeat(change, replica) in (change.told | {None})
    await replica.poll()
    await check_whole(store)


@_BEGUN
async def test_a_vault_that_is_sealed_amid_a_change(change: Change) -> None:
    """At whichever call it begins: the caller hears of Vault, and once it is unsealed nothing is half done."""
    for calls in range(12):
        store = _SealedAfter(calls)
        replica = Replica(store)
        store.armed = False
        await change.prepare(replica)
        store.armed = True
        assert await repeat(change, replica) in (change.told | {None, Reason.VAULT_UNAVAILABLE})
        store.fail_with, store.armed = None, False
        await replica.poll()
        await check_whole(store)
        await replica.repository.close()


class _SealedAfter(FakeStateStore):
    """A store that is sealed after some calls."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.armed = True
        self._left = calls

    async def _enter(self, method: str, path: str | None = None) -> None:
        if self.armed:
            if self._left == 0:
                self.fail_with = _SEALED
            self._left -= 1
        await super()._enter(method, path)


@_BEGUN
async def test_an_intent_made_by_hand(change: Change) -> None:
    """One that says less than its kind needs keeps no other from being settled."""
    store = await _begun(change)
    generation = await store.read(PATH)
    assert generation is not None
    odd = encode_intent(Intent(id="odd", kind=BURY, path="grants/odd", expected=0, holder="by hand"))
    intents = {"odd": odd, **generation.data["intents"]}
    await store.write(PATH, {**generation.data, "intents": intents}, expected=generation.version)
    replica = Replica(store, abandoned_seconds=0.0)
    await replica.poll()
    assert [intent.path for intent, _ in replica.settled] == [change.path]
