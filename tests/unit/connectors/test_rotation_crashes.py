"""A process that dies at any write of a rotation: what is in use works, and others go on, or take it back."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from support.core import PLANTED, make_secret, make_sharing_connector
from support.crashes import DyingStore, check_whole
from support.doomed_process import died_amid
from support.fake_ledger import FakeLedger
from support.fake_store import FakeStateStore
from support.rotating_replica import GIVEN, NAME, NEW, PATH, RotatingReplica, the_call
from support.waiting import eventually
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import EventFilter, EventKind, RotationState, Secret
from valetkey_broker.recording import MissingOutcomes

_MOST_WRITES = 16
_SECRET = "secrets/az_secret"
_BOUNDARIES = pytest.mark.parametrize(
    ("lives", "effect"),
    [(lives, effect) for lives in range(_MOST_WRITES) for effect in (False, True)],
    ids=lambda value: {False: "before", True: "after"}.get(value, str(value)) if isinstance(value, bool) else None,
)
Prepare = Callable[[RotatingReplica], Awaitable[object]]


async def _of_a_connector(world: RotatingReplica) -> None:
    await world.register()


async def _of_a_secret(world: RotatingReplica) -> None:
    repository = world.replica.repository
    secret = await repository.create_secret(make_secret(), ClientSecret(Secret(PLANTED)))
    await repository.create_sharing_connector(make_sharing_connector(secret, NAME))


async def _rotated(world: RotatingReplica, of: str) -> None:
    await world.replica.repository.load()
    await world.begin(of=of)
    await world.ended(of)


async def _rolled_back(world: RotatingReplica, of: str) -> None:
    await world.replica.repository.load()
    await world.rotating.rotations.rollback(of, 0, None, the_call())
    await world.ended(of)


async def _aborted(world: RotatingReplica, of: str) -> None:
    world.cloud.hold("log_in")
    await world.replica.repository.load()
    await world.begin(of=of)
    await world.rotating.rotations.abort(of, "key:ops")
    await world.ended(of)


async def _die(
    store: FakeStateStore,
    ledger: FakeLedger,
    lives: int,
    of: str,
    work: Callable[[RotatingReplica, str], Awaitable[None]],
    *,
    effect: bool,
) -> bool:
    """Does `work` in a process that dies at its `lives`-th write. Returns False where it was through before."""
    dying = DyingStore(store, lives, effect=effect)
    before = asyncio.all_tasks()
    doomed = RotatingReplica(dying, ledger=ledger)
    return await died_amid(asyncio.ensure_future(work(doomed, of)), dying.dead, before)


async def _check(world: RotatingReplica, of: str, values: set[str]) -> RotationState | None:
    """Has another replica go on, and holds what is there then against what must be true."""
    await world.replica.repository.load()
    await world.poll()
    state = None
    with contextlib.suppress(BrokerError):
        state = (await world.ended(of)).state
    await world.poll()
    await check_whole(world.replica.store)
    value = await world.in_use()
    assert isinstance(value, ClientSecret)
    assert value.client_secret.reveal() in values, "a connector without a credential that works"
    await world.connector_admin.verify(NAME)
    under_way = world.replica.repository.being_changed
    await MissingOutcomes(world.ledger, world.clock, under_way, watched_seconds=0.0).look()
    unfinished = await world.ledger.events(EventFilter(unfinished=True, kind=EventKind.CHANGE_BEGUN))
    assert [stored.event.object for stored in unfinished if stored.event.object == of] == []
    return state


@pytest.mark.parametrize(
    ("prepare", "of"), [(_of_a_connector, PATH), (_of_a_secret, _SECRET)], ids=["connector", "secret"]
)
@_BOUNDARIES
async def test_another_replica_goes_on(prepare: Prepare, of: str, lives: int, *, effect: bool) -> None:
    """Once it has begun it comes to its end in another process; before that, it never was, and can be begun anew."""
    store, ledger = FakeStateStore(), FakeLedger()
    await prepare(RotatingReplica(store, ledger=ledger))
    died = await _die(store, ledger, lives, of, _rotated, effect=effect)
    world = RotatingReplica(store, ledger=ledger)
    state = await _check(world, of, {PLANTED, NEW})
    assert state in (None, RotationState.DONE)
    assert died or state is RotationState.DONE
    if state is None:
        await world.begin(of=of)
        assert (await world.ended(of)).state is RotationState.DONE
    assert await world.in_use() == ClientSecret(Secret(NEW))


@pytest.mark.parametrize("work", [_rolled_back, _aborted])
@_BOUNDARIES
async def test_so_it_is_with_going_back_and_with_an_abort(
    work: Callable[[RotatingReplica, str], Awaitable[None]], lives: int, *, effect: bool
) -> None:
    """Either is done, or was not begun; nothing is left of it."""
    store, ledger = FakeStateStore(), FakeLedger()
    first = RotatingReplica(store, ledger=ledger)
    await first.register()
    if work is _rolled_back:
        await _rotated(first, PATH)
    await _die(store, ledger, lives, PATH, work, effect=effect)
    await _check(RotatingReplica(store, ledger=ledger), PATH, {PLANTED, NEW})


async def test_every_boundary_is_in_the_matrix() -> None:
    """A rotation of more writes than the matrix knows would be crashed in its first ones only."""
    for prepare, of in ((_of_a_connector, PATH), (_of_a_secret, _SECRET)):
        store, ledger = FakeStateStore(), FakeLedger()
        await prepare(RotatingReplica(store, ledger=ledger))
        assert not await _die(store, ledger, _MOST_WRITES, of, _rotated, effect=True)


@pytest.mark.parametrize("lives", range(_MOST_WRITES))
async def test_who_goes_on_may_die_too(lives: int) -> None:
    """Each has a greater fencing number than the one before, and the last one brings it to its end."""
    store, ledger = FakeStateStore(), FakeLedger()
    first = RotatingReplica(store, ledger=ledger)
    await first.register()
    first.cloud.hold("log_in")
    await first.begin()
    await first.rotating.runner.close()

    async def going_on(world: RotatingReplica, of: str) -> None:
        await world.replica.repository.load()
        await world.ended(of)

    await _die(store, ledger, lives, PATH, going_on, effect=False)
    world = RotatingReplica(store, ledger=ledger)
    assert await _check(world, PATH, {PLANTED, NEW}) is RotationState.DONE
    assert (await world.rotating.rotations.get(PATH)).fence >= 2


async def test_one_that_was_only_slow_stops() -> None:
    """Taken for dead, it cannot write any more; the switch is made once."""
    store, ledger = FakeStateStore(), FakeLedger()
    slow = RotatingReplica(store, ledger=ledger)
    await slow.register()
    gate = slow.cloud.hold("log_in")
    asked = slow.cloud.calls["log_in"]
    await slow.begin()
    await eventually(lambda: slow.cloud.calls["log_in"] > asked)
    quick = RotatingReplica(store, ledger=ledger)
    await quick.replica.repository.load()
    assert (await quick.ended()).state is RotationState.DONE
    gate.set()
    await eventually(lambda: len(ledger.of(EventKind.ROTATION)) == 4)
    await slow.poll()
    steps = [(event.details["state"], event.details["fence"]) for event in ledger.of(EventKind.ROTATION)]
    assert steps == [("proving", "2"), ("switching", "2"), ("done", "2"), ("switching", "1")], (
        "the last one came to nothing"
    )
    assert await slow.in_use() == ClientSecret(Secret(NEW))
    assert slow.connector_admin.get(NAME).credential_version == 2
    await check_whole(store)


async def test_a_living_holder_is_left_alone() -> None:
    """However long the proof takes: who shows signs of life is not taken for dead."""
    store = FakeStateStore()
    first = RotatingReplica(store, beat_seconds=0.04)
    await first.register()
    gate = first.cloud.hold("log_in")
    begun = await first.begin(replace(GIVEN, prove_seconds=3600))
    second = RotatingReplica(store, abandoned_seconds=0.35)
    await second.replica.repository.load()
    for _ in range(8):
        await asyncio.sleep(0.05)
        await second.poll()
    now = await second.rotating.rotations.get(PATH)
    assert (now.holder, now.fence) == (begun.holder, 1)
    assert now.beat > 1
    gate.set()
    assert (await first.ended()).state is RotationState.DONE


async def test_a_check_and_set_that_is_refused_is_proved_anew() -> None:
    """Somebody changed something else of the connector between proof and switch: that change stays."""
    world = RotatingReplica()
    await world.register()
    store, update = world.replica.store, world.replica.repository.update_connector
    switches = 0

    async def refused_once(*arguments: object) -> object:
        nonlocal switches
        switches += 1
        if switches == 1:
            raise BrokerError(Reason.CONFLICT, "changed just now", {"object": PATH})
        return await update(*arguments)  # type: ignore[arg-type]

    world.replica.repository.update_connector = refused_once  # type: ignore[method-assign, assignment]
    await world.begin(GIVEN)
    assert (await world.ended()).state is RotationState.DONE
    assert switches == 2
    assert await store.read(f"credentials/{NAME}", 3) is None
