"""Rotating a credential: proved, stored, switched; and whatever comes in between."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from support.core import CLIENT, NOW, PLANTED, make_grant, make_secret, make_sharing_connector, principal
from support.fake_ledger import ledger_down
from support.rotating_replica import ADMIN, BOUND, GIVEN, NAME, NEW, PATH, RotatingReplica, the_call
from support.waiting import eventually
from valetkey_broker.adapters.azure.auth_methods.account_key import AccountKey
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.connectors.rotation_admin import Wanted
from valetkey_broker.connectors.update_merge import ConnectorChange
from valetkey_broker.errors import BrokerError, Reason, vault_unavailable
from valetkey_broker.model import (
    Connector,
    Credential,
    EventKind,
    InvalidFieldError,
    Role,
    RotationState,
    Secret,
    rotation_path,
)
from valetkey_broker.ports import Document

KEY = base64.b64encode(b"k" * 64).decode()
ANOTHER = "55555555-5555-4555-8555-555555555555"
NEW_VALUE, OLD_VALUE = ClientSecret(Secret(NEW)), ClientSecret(Secret(PLANTED))


@pytest.fixture
async def world() -> RotatingReplica:
    world = RotatingReplica(beat_seconds=0.05)  # Which is when one hears that it was aborted.
    await world.register()
    return world


async def _refused(world: RotatingReplica, wanted: Wanted = GIVEN) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        await world.begin(wanted)
    return caught.value


async def test_a_given_secret_is_proved_stored_and_switched_to(world: RotatingReplica) -> None:
    """The connector logs in with the new one, the old one is kept, and nothing else holds the new one."""
    begun = await world.begin()
    assert (begun.state, begun.started_by, begun.from_version) == (RotationState.PROVING, "key:ops", 1)
    ended = await world.ended()
    assert (ended.state, ended.to_version, ended.reason) == (RotationState.DONE, 2, "")
    assert await world.in_use() == NEW_VALUE
    assert await world.replica.store.read(ended.candidate_path, ended.candidate) is None
    assert await world.replica.store.read(f"credentials/{NAME}", 1) is not None
    versions = world.rotating.rotations.versions(PATH)
    assert [(each.version, each.in_use, each.rotation) for each in versions] == [(2, True, begun.id), (1, False, "")]
    registered = world.memory.connectors[NAME]
    assert (versions[1].since, versions[1].given_by) == (registered.created_at, "key:ops"), "it came with the connector"


async def test_every_step_is_on_record_and_the_secret_is_not(world: RotatingReplica) -> None:
    """Who began it stands at each step, and the switch is a change of the connector with its outcome."""
    await world.begin()
    await world.ended()
    steps = [event.details["state"] for event in world.ledger.of(EventKind.ROTATION)]
    assert steps == ["switching", "done"]
    changes = [(event.kind, event.object) for event in world.ledger.recorded if event.object == PATH]
    assert changes == [(EventKind.CHANGE_BEGUN, PATH), (EventKind.ADMIN_CHANGE, PATH)]
    assert {event.principal for event in world.ledger.recorded} == {"key:ops"}
    assert NEW not in str(world.ledger.recorded)
    documents = [
        text for path, texts in world.replica.store._versions.items() for text in texts if text and NEW in text
    ]
    assert len(documents) == 1, "kept in one place only"


async def test_a_secret_that_works_later_is_waited_for(world: RotatingReplica) -> None:
    """Entra takes a while to know it: what is in use stays so, and the status says what the last try said."""
    world.cloud.secrets = {PLANTED}
    await world.begin()
    async with asyncio.timeout(30):
        while not (there := await world.rotating.rotations.get(PATH)).tries:  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.005)
    assert (there.state, there.reason) == (RotationState.PROVING, "CLOUD_CREDENTIAL_REJECTED")
    assert there.message
    assert await world.in_use() == OLD_VALUE
    world.cloud.secrets = {PLANTED, NEW}
    ended = await world.ended()
    assert (ended.state, ended.reason) == (RotationState.DONE, "")


async def test_a_secret_that_works_on_some_servers_only_is_not_switched_to(
    world: RotatingReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has to work several times in a row: one that works on every second try does not."""
    tries, log_in = 0, world.cloud.log_in

    async def every_second(connector: Connector, credential: Credential) -> None:
        nonlocal tries
        if credential.value == NEW_VALUE:
            tries += 1
            if tries % 2 == 0 and tries < 12:
                raise BrokerError(Reason.CLOUD_CREDENTIAL_REJECTED, "not here", {"azure_code": "AADSTS7000215"})
        await log_in(connector, credential)

    monkeypatch.setattr(world.cloud, "log_in", every_second)
    await world.begin()
    ended = await world.ended()
    assert ended.state is RotationState.DONE
    assert tries >= 12, "it was switched to before it worked everywhere"


async def test_one_that_does_not_work_in_time_changes_nothing(world: RotatingReplica) -> None:
    """The old one stays in use, the new one is destroyed, and the status says why."""
    wrong = Wanted(secrets={"client_secret": Secret("wrong")}, prove_seconds=0)
    await world.begin(wrong)
    ended = await world.ended()
    assert (ended.state, ended.reason) == (RotationState.FAILED, "CLOUD_CREDENTIAL_REJECTED")
    assert await world.in_use() == OLD_VALUE
    assert await world.replica.store.read(ended.candidate_path, ended.candidate) is None
    assert [event.details["state"] for event in world.ledger.of(EventKind.ROTATION)] == ["undoing", "failed"]
    await world.begin()
    assert (await world.ended()).state is RotationState.DONE, "and the next one may begin"


async def test_what_time_does_not_mend_is_not_waited_for(world: RotatingReplica) -> None:
    """An expired secret does not come to work again."""
    expired = BrokerError(Reason.CLOUD_CREDENTIAL_REJECTED, "expired", {"azure_code": "AADSTS7000222"})
    world.cloud.fail("log_in", expired)
    await world.begin(replace(GIVEN, prove_seconds=3600))
    ended = await world.ended()
    assert (ended.state, ended.tries) == (RotationState.FAILED, 0)


async def test_two_at_once(world: RotatingReplica) -> None:
    """One wins; the other is told who has begun, and since when. An update has to wait as well."""
    world.cloud.secrets = {PLANTED}
    outcomes = await asyncio.gather(world.begin(), world.begin(), return_exceptions=True)
    (error,) = [each for each in outcomes if isinstance(each, BrokerError)]
    assert error.reason is Reason.ROTATION_UNDER_WAY
    assert (error.metadata["started_by"], error.metadata["started_at"]) == ("key:ops", "2027-01-15T08:00:00Z")
    change = ConnectorChange(name=NAME, secrets={"client_secret": Secret("third")})
    with pytest.raises(BrokerError) as caught:
        await world.connector_admin.update(change, ADMIN)
    assert caught.value.reason is Reason.ROTATION_UNDER_WAY
    await world.connector_admin.update(ConnectorChange(name=NAME, description="d"), ADMIN)
    world.cloud.secrets = {PLANTED, NEW}
    assert (await world.ended()).state is RotationState.DONE
    assert world.connector_admin.get(NAME).description == "d"


async def _again(other: RotatingReplica) -> object:
    return await other.begin(replace(GIVEN, secrets={"client_secret": Secret("third")}))


async def _back(other: RotatingReplica) -> object:
    return await other.rotating.rotations.rollback(PATH, 0, None, the_call())


async def _changed(other: RotatingReplica) -> object:
    return await other.connector_admin.update(ConnectorChange(name=NAME, secrets={"client_secret": Secret(NEW)}), ADMIN)


@pytest.mark.parametrize("what", [_again, _back, _changed])
async def test_what_another_replica_has_ended_is_over(
    world: RotatingReplica, what: Callable[[RotatingReplica], Awaitable[object]]
) -> None:
    """Who saw it end at one replica may ask the next thing of another, which has not looked since."""
    other = RotatingReplica(world.replica.store, world.cloud, world.ledger, abandoned_seconds=60)
    world.cloud.hold("log_in")
    under_way = await world.begin()
    await other.poll()
    with pytest.raises(BrokerError) as caught:
        await what(other)
    assert caught.value.reason is Reason.ROTATION_UNDER_WAY, "it is, as yet"
    world.cloud.heal()
    assert (await world.ended()).state is RotationState.DONE
    known = other.memory.rotation_of(PATH, under_way.object_uid)
    assert known is not None
    assert known.id == under_way.id, "it has not heard that it ended"
    await what(other)


async def _read_late(
    world: RotatingReplica, look: Callable[[], Awaitable[object]], meanwhile: Callable[[], Awaitable[object]]
) -> None:
    """Has Vault answer a look at the rotation only after something else was done."""
    read, has_read, answer = world.replica.store.read, asyncio.Event(), asyncio.Event()

    async def late(path: str, version: int | None = None) -> Document | None:
        document = await read(path, version)
        if path == f"rotations/{NAME}" and not has_read.is_set():
            has_read.set()
            await answer.wait()
        return document

    world.replica.store.read = late  # type: ignore[method-assign]
    looking = asyncio.ensure_future(look())
    await asyncio.wait_for(has_read.wait(), 60)
    await meanwhile()
    answer.set()
    await looking


async def test_a_late_look_does_not_hide_the_next_rotation(world: RotatingReplica) -> None:
    """Who asked for the last one when another began is told of the last one; this process knows of the next."""
    await world.begin()
    last = await world.ended()
    world.cloud.secrets = {PLANTED, NEW}

    async def next_one() -> None:
        await world.begin(replace(GIVEN, secrets={"client_secret": Secret("third")}))

    await _read_late(world, lambda: world.rotating.rotations.get(PATH), next_one)
    under_way = world.memory.rotation_of(PATH, last.object_uid)
    assert under_way is not None
    assert under_way.id != last.id


async def test_a_full_reading_does_not_bring_back_a_rotation_that_ended_meanwhile(world: RotatingReplica) -> None:
    """It takes long, and nobody would be let change the connector's way in until the next look."""
    await world.repository.load()
    world.cloud.secrets = {PLANTED}
    begun = await world.begin()
    await eventually(lambda: world.memory.rotations[begun.path].tries > 0)

    async def ends() -> None:
        world.cloud.secrets = {PLANTED, NEW}
        assert (await world.ended()).state is RotationState.DONE

    await _read_late(world, world.repository.load, ends)
    assert world.memory.rotation_of(PATH, begun.object_uid) is None


async def test_an_abort_takes_it_back_at_once(world: RotatingReplica) -> None:
    """However long the proof would go on; once it is over there is nothing to abort."""
    world.cloud.hold("log_in")
    await world.begin(replace(GIVEN, prove_seconds=3600))
    await asyncio.sleep(0.02)
    aborted = await world.rotating.rotations.abort(PATH, "key:other")
    assert aborted.ends_as is RotationState.ABORTED
    again = await world.rotating.rotations.abort(PATH, "key:third")
    assert again.message == "aborted by key:other", "asked once more it is no other"
    ended = await world.ended()
    assert (ended.state, ended.message) == (RotationState.ABORTED, "aborted by key:other")
    world.cloud.heal()
    assert await world.in_use() == OLD_VALUE
    assert await world.replica.store.read(ended.candidate_path, ended.candidate) is None
    with pytest.raises(BrokerError) as caught:
        await world.rotating.rotations.abort(PATH, "key:other")
    assert caught.value.reason is Reason.ROTATION_NOT_FOUND


async def test_to_another_auth_method_and_back(world: RotatingReplica) -> None:
    """An account key instead of a service principal, by whoever may point the connector elsewhere; then back again."""
    world.cloud.secrets = {PLANTED, KEY}
    key = Wanted("account-key", {"storage_account": "one"}, {"account_key": Secret(KEY)}, prove_seconds=0)
    await world.begin(key)
    assert (await world.ended()).state is RotationState.DONE
    assert await world.in_use() == AccountKey(Secret(KEY))
    connector = world.connector_admin.get(NAME)
    assert (connector.auth_method, connector.azure.client_id) == ("account-key", "")
    back = await world.rotating.rotations.rollback(PATH, 0, None, the_call())
    assert back.source == "rollback"
    assert (await world.ended()).state is RotationState.DONE
    assert await world.in_use() == OLD_VALUE
    connector = world.connector_admin.get(NAME)
    assert (connector.auth_method, connector.azure.client_id, connector.azure.storage_account) == (
        "service-principal",
        CLIENT,
        "",
    )
    assert [(each.version, each.taken_from) for each in world.rotating.rotations.versions(PATH)] == [(3, 1), (2, 0)]


async def test_grants_do_not_come_to_mean_something_else(world: RotatingReplica) -> None:
    """Another principal leads elsewhere: where grants are bound to the connector, that takes an admin."""
    await world.replica.repository.create_grant(make_grant("training", world.connector_admin.get(NAME)))
    another = replace(GIVEN, azure={"client_id": ANOTHER})
    assert (await _refused(world, another)).reason is Reason.ROLE_REQUIRED
    await world.begin()
    assert (await world.ended()).state is RotationState.DONE, "the same principal's new secret leads nowhere else"
    await world.begin(
        Wanted(azure={"client_id": ANOTHER}, secrets={"client_secret": Secret(PLANTED)}), caller=await world.admin()
    )
    assert (await world.ended()).state is RotationState.DONE
    assert world.connector_admin.get(NAME).azure.client_id == ANOTHER


async def test_a_grant_that_comes_meanwhile_counts(world: RotatingReplica) -> None:
    """What was not bound when it began may be when it would switch."""
    gate = world.cloud.hold("log_in")
    await world.begin(replace(GIVEN, azure={"client_id": ANOTHER}))
    await world.replica.repository.create_grant(make_grant("training", world.connector_admin.get(NAME)))
    gate.set()
    ended = await world.ended()
    assert (ended.state, ended.reason) == (RotationState.FAILED, "ROLE_REQUIRED")


async def _revoked(world: RotatingReplica) -> None:
    await world.repository.revoke_api_key("admin", "key:other")


async def _replaced(world: RotatingReplica) -> None:
    await _revoked(world)
    await world.admin()


async def _ended(world: RotatingReplica) -> None:
    world.clock.now = NOW + 3601


async def _demoted(world: RotatingReplica) -> None:
    await world.repository.rotate_api_key("admin", lambda key: replace(key, roles=frozenset({Role.OPERATOR})))


@pytest.mark.parametrize("happens", [_revoked, _replaced, _ended, _demoted])
async def test_an_admin_who_is_none_by_the_switch(
    world: RotatingReplica, happens: Callable[[RotatingReplica], Awaitable[None]]
) -> None:
    """Whoever may not have grants mean something else any more does not bring it about by what was begun before."""
    admin = await world.admin()
    await world.repository.create_grant(make_grant("training", world.connector_admin.get(NAME)))
    gate = world.cloud.hold("log_in")
    await world.begin(replace(GIVEN, azure={"client_id": ANOTHER}), caller=admin)
    await happens(world)
    gate.set()
    ended = await world.ended()
    assert (ended.state, ended.reason) == (RotationState.FAILED, "ROLE_REQUIRED")
    assert await world.in_use() == OLD_VALUE


async def test_who_has_no_key_is_an_admin_by_the_settings(world: RotatingReplica) -> None:
    """Of callers with a token or a certificate nothing else is known later."""
    await world.repository.create_grant(make_grant("training", world.connector_admin.get(NAME)))
    another = replace(GIVEN, azure={"client_id": ANOTHER})
    with pytest.raises(BrokerError) as caught:
        await world.begin(another, caller=principal(Role.ADMIN, name="spiffe://example.org/other"))
    assert caught.value.reason is Reason.ROLE_REQUIRED
    await world.begin(another, caller=principal(Role.ADMIN, name=BOUND))
    assert (await world.ended()).state is RotationState.DONE


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        replace(GIVEN, remove=("labels",)),
        replace(GIVEN, remove=("description", "storage_account")),
        Wanted(secrets={"client_secret": Secret("x\n")}),
        Wanted(secrets={"account_key": Secret(KEY)}),
        replace(GIVEN, prove_seconds=3601),
    ],
)
async def test_what_cannot_be_is_said_at_once(world: RotatingReplica, wanted: Wanted) -> None:
    """Nothing begins that could only fail."""
    with pytest.raises(InvalidFieldError):
        await world.begin(wanted)
    with pytest.raises(BrokerError) as caught:
        await world.rotating.rotations.get(PATH)
    assert caught.value.reason is Reason.ROTATION_NOT_FOUND


async def test_the_credential_in_use_is_no_new_one(world: RotatingReplica) -> None:
    """A rotation that rotates nothing would only look like one."""
    error = await _refused(world, Wanted(secrets={"client_secret": Secret(PLANTED)}))
    assert error.reason is Reason.INVALID_FIELD


async def test_there_is_no_going_back_without_a_version_before(world: RotatingReplica) -> None:
    """The one before is kept, and no other; one that is refused by now is not gone back to."""
    rotations = world.rotating.rotations
    for version in (0, 7):
        with pytest.raises(BrokerError) as caught:
            await rotations.rollback(PATH, version, None, the_call())
        assert caught.value.reason is Reason.NO_PREVIOUS_CREDENTIAL
    await world.begin()
    await world.ended()
    world.cloud.secrets = {NEW}
    await rotations.rollback(PATH, 1, None, the_call())
    ended = await world.ended()
    assert (ended.state, ended.tries) == (RotationState.FAILED, 0)
    assert await world.in_use() == NEW_VALUE


async def test_vault_away_in_mid_rotation(world: RotatingReplica) -> None:
    """What is in use stays, and it goes on by itself once Vault is back, whatever was the last thing done."""
    gate = world.cloud.hold("log_in")
    await world.begin()
    await asyncio.sleep(0.02)
    world.replica.store.fail_with = vault_unavailable("sealed", "sealed")
    gate.set()
    await asyncio.sleep(0.05)
    world.replica.store.fail_with = None
    assert (await world.ended()).state is RotationState.DONE
    assert await world.in_use() == NEW_VALUE


async def test_nothing_is_done_off_the_record(world: RotatingReplica) -> None:
    """With the ledger away it stands still, and goes on once that is back."""
    gate = world.cloud.hold("log_in")
    await world.begin()
    world.ledger.fail_with = ledger_down()
    gate.set()
    await asyncio.sleep(0.05)
    assert (await world.rotating.rotations.get(PATH)).state is RotationState.PROVING
    assert await world.in_use() == OLD_VALUE
    world.ledger.fail_with = None
    assert (await world.ended()).state is RotationState.DONE


async def test_a_deleted_connector_ends_it(world: RotatingReplica) -> None:
    """Its new credential goes with it."""
    gate = world.cloud.hold("log_in")
    await world.begin()
    await world.connector_admin.delete(NAME, deleted_by="key:ops")
    gate.set()
    ended = await world.ended()
    assert (ended.state, ended.reason) == (RotationState.FAILED, "CONNECTOR_NOT_FOUND")
    assert await world.replica.store.read(ended.candidate_path, ended.candidate) is None


async def test_a_clock_that_jumps_is_no_reason_to_give_up(world: RotatingReplica) -> None:
    """For how long it was tried is counted, and not read off a clock."""
    world.cloud.secrets = {PLANTED}
    await world.begin()
    for jump in (-960.0, 3600.0):
        world.clock.now = NOW + jump
        await asyncio.sleep(0.02)
        assert (await world.rotating.rotations.get(PATH)).state is RotationState.PROVING
    world.cloud.secrets = {PLANTED, NEW}
    assert (await world.ended()).state is RotationState.DONE


async def test_what_is_not_there_was_not_never_rotated(world: RotatingReplica) -> None:
    """A slip in a name is told as such; only what is there and has no rotation is said to have none."""
    rotations = world.rotating.rotations
    for ask in (rotations.get, lambda path: rotations.abort(path, "key:ops")):
        for path, reason in (
            ("connectors/nosuch", Reason.CONNECTOR_NOT_FOUND),
            ("secrets/nosuch", Reason.SECRET_NOT_FOUND),
            (PATH, Reason.ROTATION_NOT_FOUND),
        ):
            with pytest.raises(BrokerError) as caught:
                await ask(path)
            assert caught.value.reason is reason


async def _sent_to_the_secret(world: RotatingReplica, user: str) -> None:
    """Whatever is asked of a connector that uses the secret, the command that does it with the secret is named."""
    rotations = world.rotating.rotations
    for command, ask in (
        ("rotate az_secret", lambda: rotations.rotate(user, GIVEN, the_call())),
        ("rotate az_secret --status", lambda: rotations.get(user)),
        ("rotate az_secret --abort", lambda: rotations.abort(user, "key:ops")),
        ("rollback az_secret", lambda: rotations.rollback(user, 0, None, the_call())),
    ):
        with pytest.raises(BrokerError, match=f"valetkey secret {command}$"):
            await ask()
    with pytest.raises(BrokerError, match=r"valetkey secret list-versions az_secret$"):
        rotations.versions(user)


async def test_a_named_secret_is_rotated_for_all_that_use_it() -> None:
    """It is proved with every one of them, all follow, and it can be gone back to; a user has none of its own."""
    world = RotatingReplica()
    repository = world.replica.repository
    secret = await repository.create_secret(make_secret(), OLD_VALUE)
    for name in ("first", "second"):
        await repository.create_sharing_connector(make_sharing_connector(secret, name))
    of = "secrets/az_secret"
    await world.begin(of=of)
    with pytest.raises(BrokerError) as caught:
        await world.rotating.secrets.rename("az_secret", "az_new", renamed_by="key:ops")
    assert caught.value.reason is Reason.ROTATION_UNDER_WAY
    ended = await world.ended(of)
    assert (ended.state, ended.to_version) == (RotationState.DONE, 2)
    assert [await world.in_use(name) for name in ("first", "second")] == [NEW_VALUE, NEW_VALUE]
    assert world.rotating.rotations.users(ended) == ["first", "second"]
    await world.rotating.rotations.rollback(of, 1, None, the_call())
    assert (await world.ended(of)).state is RotationState.DONE
    assert [await world.in_use(name) for name in ("first", "second")] == [OLD_VALUE, OLD_VALUE]
    assert [(each.version, each.taken_from) for each in world.rotating.rotations.versions(of)] == [(3, 1), (2, 0)]
    await _sent_to_the_secret(world, "connectors/first")
    with pytest.raises(BrokerError) as caught:
        await world.begin(Wanted(secrets={"client_secret": Secret(PLANTED)}), of=of)
    assert caught.value.reason is Reason.INVALID_FIELD


async def test_a_secret_is_not_renamed_while_it_is_rotated() -> None:
    """Not even where the rotation begins after the renaming was let: it goes by the name, and would be lost."""
    world = RotatingReplica()
    repository, of = world.repository, "secrets/az_secret"
    await repository.create_secret(make_secret(), OLD_VALUE)
    newest, begun = world.replica.store.newest, False

    async def begins(path: str) -> int:
        nonlocal begun
        if path == "secrets/az_new" and not begun:
            begun = True
            world.cloud.hold("log_in")
            await world.begin(of=of)
        return await newest(path)

    world.replica.store.newest = begins  # type: ignore[method-assign]
    with pytest.raises(BrokerError) as caught:
        await world.rotating.secrets.rename("az_secret", "az_new", renamed_by="key:other")
    assert caught.value.reason is Reason.ROTATION_UNDER_WAY
    other = RotatingReplica(world.replica.store, world.cloud, world.ledger, abandoned_seconds=60)
    await other.poll()
    world.cloud.heal()
    assert (await world.ended(of)).state is RotationState.DONE
    assert not other.memory.rotations[rotation_path(of)].state.ended, "it has not heard that it ended"
    await other.rotating.secrets.rename("az_secret", "az_new", renamed_by="key:other")
