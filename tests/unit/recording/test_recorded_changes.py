"""Changes: on record before and after, and never an outcome that is not known."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import pytest

from support.core import NOW, FakeClock, Replica
from support.crashes import CHANGES, SECRET, Change, DyingStore, check_whole, knows
from support.fake_ledger import FakeLedger, ledger_down
from support.fake_store import FakeStateStore
from valetkey_broker.errors import BrokerError, Reason, UnrecordedOutcomeError
from valetkey_broker.model import Event, EventFilter, EventKind, InvalidFieldError
from valetkey_broker.ports import Document
from valetkey_broker.recording import Changes
from valetkey_broker.state.generation_document import read_generation

BEGUN = Event(
    kind=EventKind.CHANGE_BEGUN,
    time=NOW,
    request_id="call-1",
    method="/valetkey.v1.GrantService/UpdateGrant",
    principal="key:admin",
    authentication="api-key",
    peer="192.0.2.7",
    object="grants/training",
)


class World:
    """A ledger, and a clock that has moved on by the time a change is made."""

    def __init__(self) -> None:
        self.ledger = FakeLedger()
        self.clock = FakeClock()
        self.changes = Changes(self.ledger, self.clock)
        self.calls = 0

    def work(self, error: BaseException | None = None, *, breaks_ledger: bool = False) -> Callable[[], Awaitable[str]]:
        """Returns work that takes a minute, and then fails with `error` where one is given."""

        async def run() -> str:
            self.calls += 1
            self.clock.now += 60
            if breaks_ledger:
                self.ledger.fail_with = ledger_down()
            if error is not None:
                raise error
            return "done"

        return run


@pytest.fixture
async def world() -> World:
    return World()


async def test_a_change_that_is_made(world: World) -> None:
    """Both records say who, where from and what; the second one when it was done, and no reason."""
    assert await world.changes.make(BEGUN, world.work()) == "done"
    begun, made = world.ledger.recorded
    assert begun == BEGUN
    assert (made.kind, made.time, made.reason) == (EventKind.ADMIN_CHANGE, NOW + 60, "")
    assert [made.request_id, made.method, made.principal, made.authentication, made.peer, made.object] == [
        BEGUN.request_id,
        BEGUN.method,
        BEGUN.principal,
        BEGUN.authentication,
        BEGUN.peer,
        BEGUN.object,
    ]


async def test_the_first_record_comes_first(world: World) -> None:
    """Nothing is done before it is durable that it will be."""
    calls: list[int] = []
    world.ledger.before_record = lambda _event: calls.append(world.calls)
    await world.changes.make(BEGUN, world.work())
    assert calls == [0, 1]


_KNOWN = sorted(set(Reason) - {Reason.VAULT_UNAVAILABLE, Reason.DEADLINE_EXCEEDED}, key=lambda reason: reason.name)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        *((BrokerError(reason, "no"), reason.name) for reason in _KNOWN),
        (InvalidFieldError("name", "is long", "a short one"), "INVALID_FIELD"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_change_that_is_known_not_to_be_made(world: World, error: Exception, reason: str) -> None:
    """An auditor finds a beginning and why nothing came of it, and no ADMIN_CHANGE; the caller hears the same."""
    with pytest.raises(type(error)) as caught:
        await world.changes.make(BEGUN, world.work(error))
    assert caught.value is error
    _, ended = world.ledger.recorded
    assert (ended.kind, ended.reason, ended.request_id) == (EventKind.CHANGE_FAILED, reason, "call-1")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BrokerError(Reason.VAULT_UNAVAILABLE, "no answer"), "VAULT_UNAVAILABLE"),
        (BrokerError(Reason.DEADLINE_EXCEEDED, "too slow"), "DEADLINE_EXCEEDED"),
        (TimeoutError(), "DEADLINE_EXCEEDED"),
        (RuntimeError("nobody thought of that"), "INTERNAL"),
    ],
    ids=["Vault away", "deadline", "timeout", "unexpected"],
)
async def test_a_change_that_may_be_made(world: World, error: Exception, reason: str) -> None:
    """What nobody knows is not called a failure: it is a change, with the reason why nobody knows."""
    with pytest.raises(type(error)):
        await world.changes.make(BEGUN, world.work(error))
    _, ended = world.ledger.recorded
    assert (ended.kind, ended.reason) == (EventKind.ADMIN_CHANGE, reason)
    (found,) = await world.ledger.events(EventFilter(unfinished=True))
    assert found.event == BEGUN


async def test_vault_away_before_anything_was_written(world: World) -> None:
    """Where not even reading worked, nothing changed: it is a failure, and nothing is left unfinished."""
    granting = next(change for change in CHANGES if change.name == "create-grant")
    store = FakeStateStore()
    replica = Replica(store)
    store.fail_with = BrokerError(Reason.VAULT_UNAVAILABLE, "Vault cannot be used (while reading)")
    with pytest.raises(BrokerError, match="while reading"):
        await world.changes.make(replace(BEGUN, object=granting.path), partial(granting.make, replica))
    _, ended = world.ledger.recorded
    assert (ended.kind, ended.reason) == (EventKind.CHANGE_FAILED, "VAULT_UNAVAILABLE")
    assert not await world.ledger.events(EventFilter(unfinished=True))


async def test_secrets_left_behind_may_be_destroyed_though_no_answer_came(world: World) -> None:
    """What is destroyed once more needs no intent, and is written all the same: nobody knows whether it went."""
    unregistering = next(change for change in CHANGES if change.name == "unregister")
    store = FakeStateStore()
    replica = Replica(store)
    await unregistering.prepare(replica)
    await unregistering.make(replica)
    store.fail_with, store.fail_only = BrokerError(Reason.VAULT_UNAVAILABLE, "no answer"), {"destroy"}
    with pytest.raises(BrokerError, match="no answer"):
        await world.changes.make(replace(BEGUN, object=unregistering.path), partial(unregistering.make, replica))
    assert world.ledger.recorded[-1].kind is EventKind.ADMIN_CHANGE


async def test_a_renamed_secret_is_reconciled_under_its_old_name(world: World) -> None:
    """Its records are found by the name that the caller gave, though the change is written at the new one."""
    renaming = next(change for change in CHANGES if change.name == "rename-secret")
    replica = Replica(FakeStateStore(), also_settled=world.changes.reconciled)
    await renaming.prepare(replica)

    async def work() -> object:
        await renaming.make(replica)
        raise TimeoutError

    begun = replace(BEGUN, object=f"secrets/{SECRET}")
    with pytest.raises(TimeoutError):
        await world.changes.make(begun, work)
    await replica.poll()
    ended = world.ledger.recorded[-1]
    assert (ended.kind, ended.reason, ended.object) == (EventKind.CHANGE_RECONCILED, "MADE", begun.object)
    assert not await world.ledger.events(EventFilter(unfinished=True))


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), TimeoutError()], ids=str)
async def test_what_was_made_before_its_outcome_got_lost_is_reconciled(world: World, error: Exception) -> None:
    """The intent stays open where nobody knows: the next poll settles it, and the record tells that it was made."""
    granting = next(change for change in CHANGES if change.name == "create-grant")
    replica = Replica(FakeStateStore(), also_settled=world.changes.reconciled)

    async def work() -> object:
        await granting.make(replica)
        raise error

    begun = replace(BEGUN, object=granting.path)
    with pytest.raises(type(error)):
        await world.changes.make(begun, work)
    assert [found.event for found in await world.ledger.events(EventFilter(unfinished=True))] == [begun]
    await replica.poll()
    ended = world.ledger.recorded[-1]
    assert (ended.kind, ended.reason, ended.object) == (EventKind.CHANGE_RECONCILED, "MADE", granting.path)
    assert not await world.ledger.events(EventFilter(unfinished=True))


async def test_ledger_down_beforehand(world: World) -> None:
    """Without the first record the work is never begun, and the error says that nothing was changed."""
    world.ledger.fail_with = ledger_down()
    with pytest.raises(BrokerError, match="grants/training was not changed") as caught:
        await world.changes.make(BEGUN, world.work())
    assert not isinstance(caught.value, UnrecordedOutcomeError)
    assert (caught.value.reason, caught.value.retry_after) == (Reason.LEDGER_UNAVAILABLE, 1.0)
    assert world.calls == 0


async def test_ledger_breaks_in_between(world: World) -> None:
    """A change that was made is not called a failure, and its beginning stays on record."""
    with pytest.raises(UnrecordedOutcomeError, match="was made; that it was begun is on record, its outcome is not"):
        await world.changes.make(BEGUN, world.work(breaks_ledger=True))
    assert world.ledger.recorded == [BEGUN]


async def test_ledger_breaks_as_the_change_fails(world: World) -> None:
    """The caller is told why the change failed: that is what it can do something about."""
    error = BrokerError(Reason.CONFLICT, "somebody else changed it")
    with pytest.raises(BrokerError, match="somebody else") as caught:
        await world.changes.make(BEGUN, world.work(error, breaks_ledger=True))
    assert caught.value.reason is Reason.CONFLICT
    assert world.ledger.recorded == [BEGUN]


async def test_a_change_that_is_cut_off(world: World) -> None:
    """A broker that ends in the middle leaves the beginning alone: what came of it, it does not pretend to know."""
    with pytest.raises(asyncio.CancelledError):
        await world.changes.make(BEGUN, world.work(asyncio.CancelledError()))
    assert world.ledger.recorded == [BEGUN]


async def test_what_another_process_settled_names_the_call_it_was_made_for(world: World) -> None:
    """A change whose process died gets its outcome from whoever brought it to its end, and is unfinished no longer."""
    revoking = next(change for change in CHANGES if change.name == "revoke-key")
    shared = FakeStateStore()
    await revoking.prepare(Replica(shared))
    store = DyingStore(shared, 1, effect=False)
    begun = replace(BEGUN, object=revoking.path)
    making = asyncio.create_task(world.changes.make(begun, partial(revoking.make, Replica(store))))
    await store.dead.wait()
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    assert len(await world.ledger.events(EventFilter(unfinished=True))) == 1
    other = Replica(shared, abandoned_seconds=0.0)
    await other.poll()
    ((intent, made),) = other.settled
    world.clock.now += 60
    await world.changes.reconciled(intent, made)
    ended = world.ledger.recorded[-1]
    assert (ended.kind, ended.reason, ended.time) == (EventKind.CHANGE_RECONCILED, "MADE", NOW + 60)
    assert (ended.request_id, ended.method, ended.principal, ended.object) == (
        begun.request_id,
        begun.method,
        begun.principal,
        begun.object,
    )
    assert not await world.ledger.events(EventFilter(unfinished=True))


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("records", [1, 2], ids=["outcome not recorded", "intent not closed"])
async def test_a_process_that_dies_at_its_record_leaves_no_change_unfinished(
    world: World, change: Change, records: int
) -> None:
    """The intent outlives the record of the outcome, so that whoever finds it completes the record."""
    shared, dead = FakeStateStore(), asyncio.Event()
    await change.prepare(Replica(shared))

    def die(event: Event) -> None:
        if event.kind is not EventKind.CHANGE_BEGUN:
            dead.set()
            if records == 1:
                raise asyncio.CancelledError

    world.ledger.before_record = die
    begun = replace(BEGUN, object=change.path)
    making = asyncio.create_task(world.changes.make(begun, partial(change.make, Replica(shared))))
    await dead.wait()
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    world.ledger.before_record = lambda _event: None
    other = Replica(shared, abandoned_seconds=0.0, also_settled=world.changes.reconciled)
    await other.poll()
    assert not await world.ledger.events(EventFilter(unfinished=True))
    await check_whole(shared)
    assert knows(other, change.path) is not change.removes


async def test_with_the_ledger_back_a_change_gets_its_outcome(world: World) -> None:
    """What was made while the ledger broke is completed by the very process that made it, with its next poll."""
    granting = next(change for change in CHANGES if change.name == "create-grant")
    replica = Replica(FakeStateStore(), also_settled=world.changes.reconciled)

    async def work() -> object:
        world.ledger.fail_with = ledger_down()
        return await granting.make(replica)

    with pytest.raises(UnrecordedOutcomeError):
        await world.changes.make(replace(BEGUN, object=granting.path), work)
    assert knows(replica, granting.path)
    await replica.poll()
    world.ledger.fail_with = None
    await replica.poll()
    assert [event.kind for event in world.ledger.recorded] == [EventKind.CHANGE_BEGUN, EventKind.CHANGE_RECONCILED]
    assert not await world.ledger.events(EventFilter(unfinished=True))


class SlowStore(FakeStateStore):
    """A Vault that takes its time over the first reading of one path."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self.answers = asyncio.Event()

    async def read(self, path: str, version: int | None = None) -> Document | None:
        if path == self._path:
            await self.answers.wait()
        return await super().read(path, version)


async def test_a_change_that_outlives_its_call_keeps_its_object_from_nobody(world: World) -> None:
    """The caller's time runs out before the intent is there: the change goes on, and is let go of when it is made."""
    granting = next(change for change in CHANGES if change.name == "create-grant")
    store = SlowStore(granting.path)
    replica = Replica(store, also_settled=world.changes.reconciled)

    async def work() -> None:
        async with asyncio.timeout(0.01):
            await granting.make(replica)

    with pytest.raises(TimeoutError):
        await world.changes.make(replace(BEGUN, object=granting.path), work)
    store.answers.set()
    await replica.repository.background.close()
    await replica.poll()
    async with asyncio.timeout(10):
        while any(task.get_name() == "intent-beat" for task in asyncio.all_tasks()):  # noqa: ASYNC110 (ends by itself)
            await asyncio.sleep(0)
    generation, _ = await read_generation(store)
    assert not generation.intents
    assert [(event.kind, event.reason) for event in world.ledger.recorded[1:]] == [
        (EventKind.ADMIN_CHANGE, "DEADLINE_EXCEEDED"),
        (EventKind.CHANGE_RECONCILED, "MADE"),
    ]
