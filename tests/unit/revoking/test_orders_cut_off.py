"""What Azure did for a hard revocation is on record, though the broker turned away, or had nowhere to write it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from support.fake_ledger import ledger_down
from support.revoking_replica import BY_KEY, World
from support.rotating_replica import NAME
from support.waiting import eventually
from valetkey_broker.errors import vault_unavailable
from valetkey_broker.model import Event, EventFilter, EventKind
from valetkey_broker.model.revocation import RevocationState

_REVOCATION, _ROTATION = "revocations/r-1", f"rotations/{BY_KEY}"


@pytest.fixture
async def world() -> World:
    world = World()
    await world.register()
    await world.with_key()
    return world


def _hold(world: World, path: str, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Has the store wait before it writes at a path: returns what says that it does, and what lets it go on."""
    reached, go_on, write = asyncio.Event(), asyncio.Event(), world.replica.store.write

    async def held(at: str, data: Mapping[str, Any], *, expected: int) -> int:
        if at == path:
            reached.set()
            await go_on.wait()
        return await write(at, data, expected=expected)

    monkeypatch.setattr(world.replica.store, "write", held)
    return reached, go_on


async def _check_records(world: World, path: str) -> None:
    """Every change that began has its outcome from the process that made it, and nobody had to settle it."""
    begun, made = [
        [each for each in await world.events(kind) if each.object == path]
        for kind in (EventKind.CHANGE_BEGUN, EventKind.ADMIN_CHANGE)
    ]
    assert (len(begun), [each.reason for each in made]) == (1, [""])
    assert not await world.events(EventKind.CHANGE_RECONCILED)
    assert not await world.ledger.events(EventFilter(unfinished=True, kind=EventKind.CHANGE_BEGUN))


async def test_the_limit_does_not_cut_azures_answer_from_its_record(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given anew, the order would end what others were given since; and the revocation would not say that it was."""
    await world.issue(NAME)
    await world.revoke(through="")
    reached, go_on = _hold(world, _REVOCATION, monkeypatch)
    monkeypatch.setattr("valetkey_broker.revoking.key_revocations._STEP_SECONDS", 0.1)
    await world.revoking.keys.look(at_once=True)
    await asyncio.wait_for(reached.wait(), 60)
    for _ in range(3):
        await world.revoking.keys.look(at_once=True)
        await world.poll()
    assert world.cloud.ordered == ["one"]
    go_on.set()
    await eventually(lambda: bool(world.made.keys[0].revoked_at))
    await eventually(lambda: not world.revoking.keys._orders._on_their_way)
    await _check_records(world, _REVOCATION)
    monkeypatch.setattr("valetkey_broker.revoking.key_revocations._STEP_SECONDS", 60.0)
    world.cloud.revoke_keys(world.made.keys[0].revoked_at)
    await world.until(RevocationState.REVOKED)
    assert world.cloud.ordered == ["one"]
    assert len(await world.events(EventKind.KEYS_REVOKED)) == 1


@pytest.mark.parametrize("away", ["vault", "ledger"])
async def test_what_could_not_be_written_down_is_not_ordered_again(world: World, away: str) -> None:
    """It is as Azure did it: what was signed since with keys of after that lives on."""
    await world.issue(NAME)
    await world.revoke(through="")
    store, at = world.replica.store, world.clock()
    failed = []

    def goes_away(event: Event) -> None:
        if event.kind is EventKind.KEYS_REVOKED and not failed:
            failed.append(event)
            if away == "ledger":
                raise ledger_down()
            store.fail_with, store.fail_only = vault_unavailable("no answer", "timeout"), ("write",)

    world.ledger.before_record = goes_away
    await world.revoking.keys.look(at_once=True)
    assert (failed[0].details["account"], world.made.keys[0].revoked_at) == ("one", 0)
    store.fail_with = None
    world.clock.now += 100
    async with asyncio.timeout(60):
        while not world.made.keys[0].revoked_at:
            await world.poll()
            await world.revoking.keys.look(at_once=True)
    world.cloud.revoke_keys(world.made.keys[0].revoked_at)
    await world.until(RevocationState.REVOKED)
    await world.revoking.keys.look()
    assert world.cloud.ordered == ["one"]
    assert at <= world.made.keys[0].revoked_at < at + 100
    assert len(await world.events(EventKind.KEYS_REVOKED)) == 1
    assert not world.revoking.keys._orders._taken, "what is over is not remembered"


@pytest.mark.parametrize("kind", [EventKind.KEYS_REVOKED, EventKind.REVOCATION_PROVED])
async def test_what_vault_did_not_take_is_on_record_once(world: World, kind: EventKind) -> None:
    """An account's own key that was made anew, and then was seen refused: nobody counts its tokens twice."""
    await world.issue()
    await world.revoke()
    store, failed = world.replica.store, []

    def goes_away(event: Event) -> None:
        if event.kind is kind:
            failed.append(event)
            if len(failed) == 1:
                store.fail_with, store.fail_only = vault_unavailable("no answer", "timeout"), ("write",)

    world.ledger.before_record = goes_away
    async with asyncio.timeout(60):
        while not failed:
            await world.poll()
            await world.revoking.keys.look(at_once=True)
    store.fail_with = None
    await world.until(RevocationState.REVOKED)
    assert len(failed) == len(await world.events(kind)) == 1
    await world.revoking.keys.look()
    assert not world.revoking.keys._recorded, "what is over is not remembered"


async def test_the_limit_does_not_cut_the_begin_of_a_rotation_from_its_record(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rotation is followed then, by the very process that began it."""
    await world.issue()
    await world.revoke()
    reached, go_on = _hold(world, _ROTATION, monkeypatch)
    monkeypatch.setattr("valetkey_broker.revoking.key_revocations._STEP_SECONDS", 0.1)
    async with asyncio.timeout(60):
        while not reached.is_set():
            await world.revoking.keys.look(at_once=True)
    await world.poll()
    go_on.set()
    await world.repository.background.close()
    await _check_records(world, _ROTATION)
    monkeypatch.setattr("valetkey_broker.revoking.key_revocations._STEP_SECONDS", 60.0)
    await world.until(RevocationState.REVOKED)
    assert world.maker.calls["regenerate_key"] == 1
