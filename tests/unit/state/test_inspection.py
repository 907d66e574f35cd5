"""What `check-state` finds: everything that a dead broker, of this version or an earlier one, may have left."""

from dataclasses import replace

from support.core import PLANTED, Replica, make_connector
from support.crashes import BY_NAME, CONNECTOR, SECRET, check_whole, die_during
from support.fake_store import FakeStateStore
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import RotationState
from valetkey_broker.state.consistency_inspection import Inspection
from valetkey_broker.state.named_secret_inspection import Finding

_PATH = f"credentials/{CONNECTOR.name}"
_REGISTER, _UNREGISTER = BY_NAME["register"], BY_NAME["unregister"]


async def _found(replica: Replica, *, repair: bool = False) -> list[Finding]:
    inspection = Inspection(replica.store, replica.repository, "check-state")
    found = [finding async for finding in inspection.findings(0.01)]
    for finding in found if repair else ():
        if finding.repair is not None:
            await finding.repair()
    return found


async def test_nothing_is_found_where_all_is_well() -> None:
    """Connectors that are used, deleted, and made anew are no finding."""
    replica = Replica()
    await _REGISTER.make(replica)
    assert await _found(replica) == []
    await _UNREGISTER.make(replica)
    assert await _found(replica) == []
    await _REGISTER.make(replica)
    assert await _found(replica) == []


async def test_a_secret_without_a_connector_is_found_and_destroyed() -> None:
    """What an earlier version left when it was killed while registering."""
    replica = Replica()
    await replica.store.write(_PATH, {"client_secret": PLANTED}, expected=0)
    (found,) = await _found(replica, repair=True)
    assert (found.path, found.what) == (_PATH, "holds 1 secret(s) that no connector uses")
    assert PLANTED not in f"{found}"
    await check_whole(replica.store)
    assert await _found(replica) == []


async def test_a_secret_that_outlived_its_connector_is_found_and_destroyed() -> None:
    """What an earlier version left when it was killed between the tombstone and the destruction."""
    replica = Replica()
    await _REGISTER.make(replica)
    tombstone = {"deleted": True, "deleted_by": "key:ops", "credential_version": 1}
    await replica.store.write(f"connectors/{CONNECTOR.name}", tombstone, expected=1)
    (found,) = await _found(replica, repair=True)
    assert found.path == _PATH
    await check_whole(replica.store)


async def test_a_connector_whose_secret_is_gone_is_found() -> None:
    """Only people have the secret: it is named with what to do, and nothing is deleted for them."""
    replica = Replica()
    await _REGISTER.make(replica)
    await replica.store.destroy(_PATH, [1])
    (found,) = await _found(replica, repair=True)
    assert (found.path, found.repair) == (f"connectors/{CONNECTOR.name}", None)
    assert f"valetkey service-connector update {CONNECTOR.name}" in found.remedy
    assert await replica.store.newest(f"connectors/{CONNECTOR.name}") == 1


async def test_an_unfinished_change_is_found_and_settled() -> None:
    """Where no broker runs that would settle it by itself."""
    store = FakeStateStore()
    await _REGISTER.prepare(Replica(store))
    await die_during(_REGISTER, store, 1, effect=True)
    replica = Replica(store, abandoned_seconds=0.0)
    (found,) = await _found(replica, repair=True)
    assert (found.path, found.what) == (_REGISTER.path, "a change (register) was begun and nobody works on it")
    await check_whole(store)
    assert await _found(replica) == []


async def test_a_repair_never_deletes_a_connector() -> None:
    """Somebody registers the name between the look and the repair: theirs stands."""
    replica = Replica()
    await replica.store.write(_PATH, {"client_secret": PLANTED}, expected=0)
    inspection = Inspection(replica.store, replica.repository, "check-state")
    (found,) = [finding async for finding in inspection.findings(0.01)]
    await _REGISTER.make(replica)
    assert found.repair is not None
    try:
        await found.repair()
    except BrokerError as error:
        assert error.reason is Reason.CONNECTOR_EXISTS  # noqa: PT017 (what matters comes after)
    connector = replica.memory.connectors[CONNECTOR.name]
    document = await replica.store.read(_PATH, connector.credential_version)
    assert document is not None
    assert make_connector().name == connector.name


async def test_named_secrets_that_are_used_and_deleted_are_no_finding() -> None:
    """The value before the one in use is kept on purpose."""
    replica = Replica()
    await BY_NAME["update-secret"].prepare(replica)
    await BY_NAME["rename-secret"].make(replica)
    await BY_NAME["create-secret"].make(replica)
    await BY_NAME["delete-secret"].make(replica)
    assert await _found(replica) == []


async def test_a_value_without_its_secret_is_found_and_destroyed() -> None:
    """What is left where somebody removed the secret's document by hand; a value that is being stored is let be."""
    replica = Replica()
    store, create = replica.store, BY_NAME["create-secret"]
    await create.make(replica)
    (uid,) = await store.names("shared-credentials")
    del store._versions[f"secrets/{SECRET}"]
    (found,) = await _found(replica, repair=True)
    assert (found.path, found.what) == (
        f"shared-credentials/{uid}",
        "holds 1 value(s) of a named secret that is not there",
    )
    assert await store.read(f"shared-credentials/{uid}") is None
    await die_during(create, store, 1, effect=True)
    unfinished = [finding.path for finding in await _found(Replica(store, abandoned_seconds=60.0))]
    assert unfinished == [f"secrets/{SECRET}"]


async def test_a_credential_whose_rotation_is_over_is_found_and_destroyed() -> None:
    """What somebody who edits by hand leaves; one that is being proved, or is just being stored, is let be."""
    replica = Replica()
    store, begin = replica.store, BY_NAME["begin-rotation"]
    await begin.prepare(replica)
    await begin.make(replica)
    assert await _found(replica) == []
    (name,) = await store.names("rotation-credentials")
    rotation = await replica.repository.rotations.read(f"rotations/{name}")
    assert rotation is not None
    await replica.repository.rotations.write(replace(rotation, state=RotationState.FAILED))
    (found,) = await _found(replica, repair=True)
    assert (found.path, found.what) == (
        f"rotation-credentials/{name}",
        "holds 1 credential(s) of rotations that are over",
    )
    assert await store.read(f"rotation-credentials/{name}", rotation.candidate) is None
    assert await _found(replica) == []
    await die_during(begin, store, 1, effect=True)
    unfinished = [finding.path for finding in await _found(Replica(store, abandoned_seconds=60.0))]
    assert unfinished == [f"rotations/{name}"]


async def test_a_secret_without_its_value_and_a_connector_without_its_secret_are_found() -> None:
    """Only people can mend them: they are named with what to do."""
    replica = Replica()
    store = replica.store
    await BY_NAME["register-with-secret"].prepare(replica)
    await BY_NAME["register-with-secret"].make(replica)
    (uid,) = await store.names("shared-credentials")
    await store.destroy(f"shared-credentials/{uid}", [1])
    (found,) = await _found(replica)
    assert (found.path, found.repair) == (f"secrets/{SECRET}", None)
    assert f"valetkey secret update {SECRET}" in found.remedy
    del store._versions[f"secrets/{SECRET}"]
    (found,) = await _found(replica)
    assert (found.path, found.what) == (f"connectors/{CONNECTOR.name}", "the named secret that it uses is gone")
