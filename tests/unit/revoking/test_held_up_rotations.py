"""A hard revocation whose rotation is held up: it says by what, and goes on with what came to have the key since."""

import asyncio
import time
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from support.core import CLIENT, PLANTED, TENANT
from support.revoking_replica import BY_KEY, OTHER, TRAINER, World
from support.rotating_replica import NAME, RotatingReplica, by_account_key, the_call
from valetkey_broker.connectors.connector_draft import NewConnector
from valetkey_broker.connectors.made_credential_rotations import Automatic
from valetkey_broker.connectors.rotation_runner import _Own
from valetkey_broker.errors import BrokerError, Reason, vault_unavailable
from valetkey_broker.model import BLOB_CONTAINER, AzureConfig, ConnectorType, RotationState, Secret
from valetkey_broker.model.revocation import LeaseState, RevocationState
from valetkey_broker.revoking.revoker import Asked


@pytest.fixture
async def world() -> World:
    world = World()
    await world.register()
    await world.with_key()
    return world


async def test_what_got_the_key_after_the_revocation_was_made_is_rotated_as_well(world: World) -> None:
    """Azure would not make the key anew while another connector here needs it."""
    key = world.maker.keys["one"]["key1"]
    await world.issue()
    await world.revoke()
    await world.with_key(OTHER)
    assert [each.rotates for each in world.made.keys] == [f"connectors/{BY_KEY}"]
    await world.until(RevocationState.REVOKED)
    assert {each.rotates for each in world.made.keys} == {f"connectors/{BY_KEY}", f"connectors/{OTHER}"}
    assert key not in world.maker.keys["one"].values()


async def test_what_got_the_key_through_another_replica_counts_at_once(world: World) -> None:
    """Memory is a poll behind: the preview asks Vault who has the key now, and says what all will be rotated."""
    await world.issue()
    other = RotatingReplica(world.replica.store, world.cloud, world.ledger)
    await other.repository.load()
    key = by_account_key(OTHER, "one", world.maker.keys["one"]["key1"])
    await other.connector_admin.create(key, created_by="key:ops")
    (signer,) = (await world.revoking.revoker.preview(TRAINER, NAME)).hit.signers
    assert [each.path for each in signer.holders] == [f"connectors/{BY_KEY}", f"connectors/{OTHER}"]


async def test_an_earlier_rotation_in_the_way_is_named_with_what_holds_it_up(world: World) -> None:
    """The note has the cause and the command that helps, no abort that would be refused; the log has it once."""
    await world.with_key(OTHER)
    await world.automatic.rotate(f"connectors/{BY_KEY}", Automatic(by=NAME, at_once=True), the_call())
    async with asyncio.timeout(60):
        while not world.memory.rotations[f"rotations/{BY_KEY}"].message:
            world.clock.now += 1
            await world.poll()
            await asyncio.sleep(0.005)
    assert world.memory.rotations[f"rotations/{BY_KEY}"].state is RotationState.WITHDRAWING
    await world.issue()
    await world.revoke()
    with capture_logs() as logs:
        for _ in range(4):
            await world.revoking.keys.look(at_once=True)
    said = world.made.keys[0].error
    assert f"others use it: connector {OTHER}" in said
    assert f"valetkey service-connector rotate {OTHER} --auto --by {NAME}" in said
    assert "--abort" not in said
    assert len([each for each in logs if "not revoked yet" in each["event"]]) == 1
    (pace,) = world.revoking.keys._paces.values()
    assert pace.due - time.monotonic() > 1.5, "what fails the same way again is asked about ever less"
    with pytest.raises(BrokerError, match=f"others use it: connector {OTHER}"):
        await world.automatic.rotate(f"connectors/{BY_KEY}", Automatic(by=NAME), the_call())


@pytest.mark.parametrize("what", ["elsewhere", "odd", "hangs"])
async def test_one_that_cannot_be_does_not_keep_the_others_alive(
    world: World, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is to be asked leads elsewhere by now, or hangs, or what nobody thought of: other keys are revoked."""
    azure = AzureConfig(TENANT, CLIENT, "")
    secrets = {"client_secret": Secret(PLANTED)}
    helper = NewConnector("helper", ConnectorType.AZURE, "service-principal", BLOB_CONTAINER, "", azure, secrets)
    await world.connector_admin.create(helper, created_by="key:ops")
    await world.issue()
    await world.revoke(through="helper")
    await world.issue(NAME, "key:other")
    await world.revoke(through="", asked=Asked(principal="key:other"), name="r-2")
    await world.repository.refresh()
    there = world.memory.connectors
    if what == "odd":
        monkeypatch.setattr(world.maker, "account_keys", None)
    elif what == "hangs":
        monkeypatch.setattr("valetkey_broker.revoking.key_revocations._STEP_SECONDS", 0.2)
        monkeypatch.setattr(world.maker, "account_keys", lambda *_: asyncio.Event().wait())
    else:
        there["helper"] = replace(there["helper"], azure=replace(there["helper"].azure, cloud="elsewhere"))
    with capture_logs() as logs:
        async with asyncio.timeout(20):
            while not world.memory.revocations["r-2"].keys[0].revoked_at:
                await world.revoking.keys.look(at_once=True)
    if what == "elsewhere":
        assert "by: is in another cloud" in world.made.keys[0].error
        return
    line = next(each for each in logs if each["log_level"] == "error" and each["revocation"] == "r-1")
    assert line["frames"][0] == ("builtins.TimeoutError" if what == "hangs" else "builtins.TypeError")


async def test_who_holds_a_key_is_not_guessed_while_vault_is_away(world: World) -> None:
    """What nobody can tell now is neither left out of a revocation nor called no key of an account."""
    await world.with_key(OTHER)
    await world.issue()
    world.repository._credentials._known.clear()
    world.replica.store.fail_with, world.replica.store.fail_only = vault_unavailable("no answer", "timeout"), ("read",)
    with pytest.raises(BrokerError) as caught:
        await world.revoke()
    assert caught.value.reason is Reason.VAULT_UNAVAILABLE


async def test_nobody_is_asked_in_another_cloud(world: World) -> None:
    """Where the account is not, its keys cannot be revoked: that is said before anything is."""
    there = world.memory.connectors
    there["far"] = replace(there[NAME], name="far", azure=replace(there[NAME].azure, cloud="elsewhere"))
    await world.issue(NAME)
    found = await world.revoking.revoker.preview(TRAINER, "far")
    assert [each.obstacle for each in found.hit.signers] == ["the connector far is in another cloud than the keys"]


async def test_what_cannot_be_ended_any_more_is_lifted_before_it_is_revoked_again(world: World) -> None:
    """The connector by way of which it was to be is gone: who revokes by another one is told how."""
    await world.with_key(OTHER)
    await world.issue()
    await world.revoke()
    with pytest.raises(BrokerError, match=r"list-revocations$"):
        await world.revoke(through=OTHER, name="r-2")
    del world.memory.connectors[NAME]
    with pytest.raises(BrokerError, match=rf"{NAME} is gone: lift it, .* valetkey lease lift r-1$"):
        await world.revoke(through=OTHER, name="r-2")


async def test_what_is_over_is_not_remembered(world: World) -> None:
    """A process that serves for months holds nothing for what others ended, or what was deleted."""
    world.revoking.keys.begin("gone")
    world.rotating.runner._own["gone"] = _Own()
    world.rotating.schedules._not_before["gone"] = world.clock() - 1
    await world.revoking.keys.look()
    await world.rotating.runner.look()
    await world.rotating.schedules.look()
    assert not world.revoking.keys._mine
    assert not world.rotating.runner._own
    assert not world.rotating.schedules._not_before


async def test_a_rotation_that_waits_once_more_is_hurried_as_well() -> None:
    """A late replica signed with the old key when it was about to go: the emergency brake does not wait for that."""
    world = World(beat_seconds=0.01)
    await world.register()
    await world.with_key()
    await world.issue()
    key = world.maker.keys["one"]["key1"]
    await world.automatic.rotate(f"connectors/{BY_KEY}", Automatic(by=NAME), the_call())

    async def until(state: RotationState) -> None:
        async with asyncio.timeout(20):
            while world.memory.rotations[f"rotations/{BY_KEY}"].state is not state:
                await world.poll()
                await asyncio.sleep(0.005)

    await until(RotationState.WAITING)
    world.clock.now += 700
    late = await world.issue(version=1)
    await until(RotationState.WITHDRAWING)
    assert world.maker.keys["one"]["key1"] == key
    await world.revoke()
    await world.until(RevocationState.REVOKED)
    assert world.state(late) is LeaseState.REVOKED
    assert key not in world.maker.keys["one"].values()
