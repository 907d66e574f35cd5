"""Processes that die amid a change, and what has to hold afterwards whatever they had done."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from support.core import (
    NOW,
    PLANTED,
    Replica,
    make_api_key,
    make_connector,
    make_grant,
    make_rotation,
    make_secret,
    make_sharing_connector,
)
from support.doomed_process import died_amid
from support.fake_store import FakeStateStore
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.errors import (
    BrokerError,
    Reason,
    connector_not_found,
    grant_not_found,
    revocation_not_found,
    rotation_not_found,
    secret_not_found,
)
from valetkey_broker.model import ApiKey, Connector, EarlierDigest, NamedSecret, RotationSchedule, RotationState, Secret
from valetkey_broker.model.revocation import KeyRevocation, Revocation, RevocationTarget
from valetkey_broker.ports import Document, StateStore
from valetkey_broker.state.generation_document import read_generation

# The same in every process: a grant names the connector by its uid.
CONNECTOR = make_connector("azure-blob-demo", uid="55555555-5555-4555-8555-555555555555", version=0)
KEY = make_api_key("trainer")
_NEW_DIGEST = b"n" * 32
GRANT = make_grant("training", CONNECTOR)


class DyingStore(FakeStateStore):
    """The shared store as a process sees it that dies at its `lives`-th write, before or after it took effect.

    From then on no call comes back, as in a process that is no more.
    """

    def __init__(self, shared: FakeStateStore, lives: int, *, effect: bool) -> None:
        super().__init__()
        self._shared = shared
        self._lives = lives
        self._effect = effect
        self.dead = asyncio.Event()

    async def read(self, path: str, version: int | None = None) -> Document | None:
        await self._alive()
        return await self._shared.read(path, version)

    async def newest(self, path: str) -> int:
        await self._alive()
        return await self._shared.newest(path)

    async def names(self, folder: str) -> Sequence[str]:
        await self._alive()
        return await self._shared.names(folder)

    async def write(self, path: str, data: Mapping[str, Any], *, expected: int) -> int:
        return await self._mutate(lambda: self._shared.write(path, data, expected=expected))

    async def destroy(self, path: str, versions: Sequence[int]) -> None:
        await self._mutate(lambda: self._shared.destroy(path, versions))

    async def _mutate(self, mutation: Callable[[], Awaitable[Any]]) -> Any:
        await self._alive()
        self._lives -= 1
        last = self._lives < 0
        answer = await mutation() if self._effect or not last else None
        if last:
            self.dead.set()
            await self._alive()
        return answer

    async def _alive(self) -> None:
        if self.dead.is_set():
            await asyncio.Event().wait()


@dataclass(frozen=True)
class Change:
    """A kind of change: how it is prepared and made, and what somebody who repeats it may be told."""

    name: str
    path: str
    prepare: Callable[[Replica], Awaitable[object]]
    make: Callable[[Replica], Awaitable[object]]
    told: frozenset[Reason]
    removes: bool = False
    changes: bool = False
    """Whether the object was there before, and is there after."""

    def __str__(self) -> str:
        return self.name


async def _nothing(_replica: Replica) -> None:
    """Nothing has to be there before."""


async def _register(replica: Replica) -> object:
    return await replica.repository.create_connector(CONNECTOR, ClientSecret(Secret(PLANTED)))


async def _unregister(replica: Replica) -> object:
    return await replica.repository.delete_connector(CONNECTOR.name, "key:ops")


async def _register_anew(replica: Replica) -> object:
    return await replica.repository.create_connector(replace(CONNECTOR, uid="another"), ClientSecret(Secret("another")))


async def _registered_and_gone(replica: Replica) -> None:
    await _register(replica)
    await _unregister(replica)


async def _drop_keys(replica: Replica) -> object:
    return await replica.repository.drop_signing_keys(CONNECTOR.name, 1_800_000_000)


async def _registered_and_updated(replica: Replica) -> None:
    """Leaves a secret of earlier, which the next update has to destroy."""
    await _register(replica)
    await _update_with(replica, "second")


async def _update(replica: Replica) -> object:
    return await _update_with(replica, PLANTED)


async def _update_with(replica: Replica, secret: str) -> object:
    there = await _registered(replica)
    return await replica.repository.update_connector(
        replace(there, description="updated"), ClientSecret(Secret(secret))
    )


async def _describe(replica: Replica) -> object:
    """Changes what is noted down of a connector, and not its secret."""
    there = await _registered(replica)
    return await replica.repository.update_connector(replace(there, description="described"), None)


async def _registered(replica: Replica) -> Connector:
    """Gives the connector as the command line sees it before it changes it."""
    await replica.repository.refresh()
    if CONNECTOR.name not in replica.memory.connectors:
        raise connector_not_found(CONNECTOR.name)
    return replica.memory.connectors[CONNECTOR.name]


async def _admit(replica: Replica) -> object:
    return await replica.repository.create_api_key(KEY)


async def _rotate(replica: Replica) -> object:
    """Rotates a key as the command line does: the very same secret again changes nothing."""
    return await replica.repository.rotate_api_key(KEY.name, _with_new_secret)


def _with_new_secret(key: ApiKey) -> ApiKey | None:
    earlier = (EarlierDigest(key.digest, key.expires_at),)
    return None if key.digest == _NEW_DIGEST else replace(key, digest=_NEW_DIGEST, earlier=earlier)


async def _revoke(replica: Replica) -> object:
    return await replica.repository.revoke_api_key(KEY.name, "key:admin")


async def _grant(replica: Replica) -> object:
    return await replica.repository.create_grant(GRANT)


async def _widen(replica: Replica) -> object:
    """Changes a grant as the command line does: it reads it, and repeats nothing that is so already."""
    await replica.repository.refresh()
    if GRANT.name not in replica.memory.grants:
        raise grant_not_found(GRANT.name)
    there = replica.memory.grants[GRANT.name]
    return there if there.note else await replica.repository.update_grant(replace(there, note="wider"))


async def _withdraw(replica: Replica) -> object:
    return await replica.repository.delete_grant(GRANT.name, "key:admin")


async def _seal(replica: Replica) -> object:
    return await replica.repository.create_secret(make_secret(SECRET), ClientSecret(Secret(PLANTED)))


async def _known(replica: Replica) -> NamedSecret:
    """Gives the secret as the command line sees it before it changes it."""
    await replica.repository.refresh()
    if SECRET not in replica.memory.secrets:
        raise secret_not_found(SECRET)
    return replica.memory.secrets[SECRET]


async def _reseal(replica: Replica) -> object:
    there = await _known(replica)
    value = ClientSecret(Secret(f"{PLANTED}-{there.credential_version}"))
    return await replica.repository.update_secret(there, there, value, verified=None)


async def _shared(replica: Replica) -> None:
    """One that was changed several times, and that a connector uses."""
    await _seal(replica)
    for _ in range(2):
        await _reseal(replica)
    connector = make_sharing_connector(await _known(replica), "sharing")
    await replica.repository.create_sharing_connector(connector)


async def _schedule(replica: Replica) -> object:
    """Changes how often a secret is rotated, and not its value."""
    return await replica.repository.schedule_secret(await _known(replica), RotationSchedule(86_400))


async def _rename(replica: Replica) -> object:
    return await replica.repository.rename_secret(await _known(replica), RENAMED, "key:ops")


async def _discard(replica: Replica) -> object:
    return await replica.repository.delete_secret(SECRET, "key:ops")


async def _share(replica: Replica) -> object:
    draft = make_sharing_connector(await _known(replica), CONNECTOR.name, uid=CONNECTOR.uid)
    return await replica.repository.create_sharing_connector(draft)


async def _begin_rotation(replica: Replica) -> object:
    """Begins the second rotation of a connector: the first one is over, and its credential gone."""
    candidate = {"client_secret": PLANTED}
    return await replica.repository.rotations.begin(make_rotation(f"connectors/{CONNECTOR.name}"), candidate)


async def _rotated_before(replica: Replica) -> None:
    await _register(replica)
    rotations = replica.repository.rotations
    begun = await rotations.begin(make_rotation(f"connectors/{CONNECTOR.name}"), {"client_secret": "first"})
    await rotations.destroy_candidate(begun)
    await rotations.write(replace(begun, state=RotationState.FAILED))


REVOCATION = Revocation(
    name="r-demo",
    target=RevocationTarget(principal="key:test"),
    reason="",
    hard=True,
    created_at=datetime.fromtimestamp(NOW, UTC),
    created_by="key:ops",
    keys=(
        KeyRevocation(
            cloud="dev",
            account="demoaccount",
            through=CONNECTOR.name,
            probe_connector=CONNECTOR.name,
            container="demo",
        ),
    ),
)


async def _take_back(replica: Replica) -> object:
    return await replica.repository.revocations.create(REVOCATION)


async def _revoke_keys(replica: Replica) -> object:
    """Orders the keys to be revoked, as the broker does: whoever comes later finds it done."""

    async def ordered(there: Revocation) -> Revocation:
        return replace(there, keys=tuple(replace(keys, revoked_at=1_800_000_100) for keys in there.keys))

    return await replica.repository.revocations.change(
        REVOCATION.name, lambda there: not there.keys[0].revoked_at, ordered
    )


async def _lift(replica: Replica) -> object:
    async def lifted(there: Revocation) -> Revocation:
        return replace(there, lifted_at=datetime.fromtimestamp(NOW, UTC), lifted_by="key:ops")

    return await replica.repository.revocations.change(REVOCATION.name, lambda there: there.in_force, lifted)


SECRET, RENAMED = "az_secret", "az_renamed"
_S, _R = f"secrets/{SECRET}", f"secrets/{RENAMED}"
_C, _K, _G = f"connectors/{CONNECTOR.name}", f"api-keys/{KEY.name}", f"grants/{GRANT.name}"
_V = f"revocations/{REVOCATION.name}"
CHANGES = (
    Change("register", _C, _nothing, _register, frozenset({Reason.CONNECTOR_EXISTS})),
    Change("register-anew", _C, _registered_and_gone, _register_anew, frozenset({Reason.CONNECTOR_EXISTS})),
    Change("update", _C, _registered_and_updated, _update, frozenset({Reason.CONFLICT}), changes=True),
    Change("describe", _C, _register, _describe, frozenset({Reason.CONFLICT}), changes=True),
    Change("unregister", _C, _register, _unregister, frozenset({Reason.CONNECTOR_NOT_FOUND}), removes=True),
    Change("drop-keys", _C, _register, _drop_keys, frozenset()),
    Change("admit-key", _K, _nothing, _admit, frozenset()),
    Change("rotate-key", _K, _admit, _rotate, frozenset(), changes=True),
    Change("revoke-key", _K, _admit, _revoke, frozenset({Reason.API_KEY_NOT_FOUND}), removes=True),
    Change("create-grant", _G, _nothing, _grant, frozenset()),
    Change("update-grant", _G, _grant, _widen, frozenset(), changes=True),
    Change("delete-grant", _G, _grant, _withdraw, frozenset({Reason.GRANT_NOT_FOUND}), removes=True),
    Change("revoke", _V, _nothing, _take_back, frozenset()),
    Change("revoke-keys", _V, _take_back, _revoke_keys, frozenset(), changes=True),
    Change("lift-revocation", _V, _take_back, _lift, frozenset(), changes=True),
    Change("create-secret", _S, _nothing, _seal, frozenset({Reason.SECRET_EXISTS})),
    Change("update-secret", _S, _shared, _reseal, frozenset({Reason.CONFLICT}), changes=True),
    Change("schedule-secret", _S, _shared, _schedule, frozenset(), changes=True),
    Change("rename-secret", _R, _shared, _rename, frozenset({Reason.SECRET_NOT_FOUND, Reason.SECRET_EXISTS})),
    Change("delete-secret", _S, _seal, _discard, frozenset({Reason.SECRET_NOT_FOUND}), removes=True),
    Change(
        "begin-rotation",
        f"rotations/{CONNECTOR.name}",
        _rotated_before,
        _begin_rotation,
        frozenset({Reason.ROTATION_UNDER_WAY}),
        changes=True,
    ),
    Change("register-with-secret", _C, _seal, _share, frozenset({Reason.CONNECTOR_EXISTS})),
)

BY_NAME = {change.name: change for change in CHANGES}


async def clear(replica: Replica) -> None:
    """Takes away what the changes above make and change, so that each can be prepared once more."""
    await replica.repository.refresh()
    memory, repository = replica.memory, replica.repository
    for name in {GRANT.name}.intersection(memory.grants):
        await repository.delete_grant(name, "key:ops")
    for name in {CONNECTOR.name, "sharing"}.intersection(memory.connectors):
        await repository.delete_connector(name, "key:ops")
    for name in {SECRET, RENAMED}.intersection(memory.secrets):
        await repository.delete_secret(name, "key:ops")
    for name in {KEY.name}.intersection(memory.keys_by_name):
        await repository.revoke_api_key(name, "key:ops")
    # No operator can take these away: what was revoked stays on record, and so does the last rotation.
    for name in {REVOCATION.name}.intersection(memory.revocations):
        await repository._bury(f"revocations/{name}", "key:ops", revocation_not_found(name))
    for path, rotation in list(memory.rotations.items()):
        await repository.rotations.destroy_candidate(rotation)
        await repository._bury(path, "key:ops", rotation_not_found(rotation.object))


async def die_during(change: Change, shared: FakeStateStore, lives: int, *, effect: bool) -> bool:
    """Makes a change in a process that dies amid it. Returns False where it was through before."""
    store = DyingStore(shared, lives, effect=effect)
    before = asyncio.all_tasks()
    doomed = Replica(store)
    return await died_amid(asyncio.ensure_future(change.make(doomed)), store.dead, before)


async def repeat(change: Change, replica: Replica) -> Reason | None:
    """Makes a change again; returns what the caller was told instead of success."""
    try:
        await change.make(replica)
    except BrokerError as error:
        return error.reason
    return None


def knows(replica: Replica, path: str) -> bool:
    """Tells whether a replica's memory has what is at a path."""
    return path in replica.repository._updates.paths()


async def check_whole(store: StateStore, name: str = CONNECTOR.name) -> None:
    """Holds a store against what must be true when nothing is under way."""
    generation, _ = await read_generation(store)
    assert not generation.intents, "a change is unfinished"
    connector = await store.read(f"connectors/{name}")
    live = connector is not None and not connector.data.get("deleted") and not connector.data.get("secret")
    newest = await store.newest(f"credentials/{name}")
    readable = [version for version in range(1, newest + 1) if await store.read(f"credentials/{name}", version)]
    assert connector is not None or not readable
    await _check_shared(store)
    await _check_rotations(store)
    kept = connector.data if connector is not None and live else {}
    versions = [kept.get(each) for each in ("previous_credential_version", "credential_version")]
    assert readable == [version for version in versions if version], "an orphan secret"


async def _check_rotations(store: StateStore) -> None:
    """Holds rotations against what must be true: one that is not over has its credential, and nothing else has one."""
    for name in await store.names("rotation-credentials"):
        path = f"rotation-credentials/{name}"
        versions = [await store.read(path, v) for v in range(1, await store.newest(path) + 1)]
        readable = [each.version for each in versions if each is not None and "void" not in each.data]
        document = await store.read(f"rotations/{name}")
        if document is not None and document.data.get("deleted"):
            document = None  # It was undone before it began.
        ended = document is None or RotationState(document.data["state"]).ended
        assert not readable or (document is not None and readable in ([], [document.data["candidate"]]))
        assert readable or ended, "a rotation without its credential"
        assert not (readable and ended), "a credential of a rotation that is over"


async def _check_shared(store: StateStore) -> None:
    """Holds named secrets against what must be true: each has its value, nothing else has, and users have theirs."""
    secrets = await _live(store, "secrets")
    by_uid = {data["uid"]: (data["credential_version"], data.get("previous_credential_version", 0)) for data in secrets}
    assert len(by_uid) == len(secrets), "two names of one secret"
    for uid in {*await store.names("shared-credentials"), *by_uid}:
        path = f"shared-credentials/{uid}"
        readable = {v for v in range(1, await store.newest(path) + 1) if await store.read(path, v)}
        version, previous = by_uid.get(uid, (0, 0))
        assert readable == {version, previous} - {0}, "a secret without its value, or a value that is nobody's"
    for data in await _live(store, "connectors"):
        assert data.get("secret", "") in {"", *by_uid}, "a connector whose secret is gone"


async def _live(store: StateStore, folder: str) -> list[Mapping[str, Any]]:
    documents = [await store.read(f"{folder}/{name}") for name in await store.names(folder)]
    return [document.data for document in documents if document and not document.data.get("deleted")]
