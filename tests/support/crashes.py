"""Processes that die amid a change, and what has to hold afterwards whatever they had done."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from support.core import PLANTED, Replica, make_api_key, make_connector, make_grant
from support.fake_store import FakeStateStore
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Secret
from valetkey_broker.ports import Document, StateStore
from valetkey_broker.state.generation import read_generation

# The same in every process: a grant names the connector by its uid.
CONNECTOR = make_connector("azure-blob-demo", uid="55555555-5555-4555-8555-555555555555", version=0)
KEY = make_api_key("trainer")
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


async def _admit(replica: Replica) -> object:
    return await replica.repository.create_api_key(KEY)


async def _revoke(replica: Replica) -> object:
    return await replica.repository.revoke_api_key(KEY.name, "key:admin")


async def _grant(replica: Replica) -> object:
    return await replica.repository.create_grant(GRANT)


async def _widen(replica: Replica) -> object:
    """Changes a grant as the command line does: it reads it, and repeats nothing that is so already."""
    await replica.repository.refresh()
    there = replica.memory.grants[GRANT.name]
    return there if there.note else await replica.repository.update_grant(replace(there, note="wider"))


async def _withdraw(replica: Replica) -> object:
    return await replica.repository.delete_grant(GRANT.name, "key:admin")


_C, _K, _G = f"connectors/{CONNECTOR.name}", f"api-keys/{KEY.name}", f"grants/{GRANT.name}"
CHANGES = (
    Change("register", _C, _nothing, _register, frozenset({Reason.CONNECTOR_EXISTS})),
    Change("register-anew", _C, _registered_and_gone, _register_anew, frozenset({Reason.CONNECTOR_EXISTS})),
    Change("unregister", _C, _register, _unregister, frozenset({Reason.CONNECTOR_NOT_FOUND}), removes=True),
    Change("admit-key", _K, _nothing, _admit, frozenset()),
    Change("revoke-key", _K, _admit, _revoke, frozenset({Reason.API_KEY_NOT_FOUND}), removes=True),
    Change("create-grant", _G, _nothing, _grant, frozenset()),
    Change("update-grant", _G, _grant, _widen, frozenset()),
    Change("delete-grant", _G, _grant, _withdraw, frozenset({Reason.GRANT_NOT_FOUND}), removes=True),
)


async def die_during(change: Change, shared: FakeStateStore, lives: int, *, effect: bool) -> bool:
    """Makes a change in a process that dies amid it. Returns False where it was through before."""
    store = DyingStore(shared, lives, effect=effect)
    before = asyncio.all_tasks()
    doomed = Replica(store)
    making = asyncio.ensure_future(change.make(doomed))
    dying = asyncio.ensure_future(store.dead.wait())
    await asyncio.wait([making, dying], return_when=asyncio.FIRST_COMPLETED)
    died = not making.done()
    for task in asyncio.all_tasks() - before:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*(asyncio.all_tasks() - before), return_exceptions=True)
    return died


async def repeat(change: Change, replica: Replica) -> Reason | None:
    """Makes a change again; returns what the caller was told instead of success."""
    try:
        await change.make(replica)
    except BrokerError as error:
        return error.reason
    return None


def knows(replica: Replica, path: str) -> bool:
    """Tells whether a replica's memory has what is at a path."""
    return path in replica.repository._intake.paths()


async def check_whole(store: StateStore, name: str = CONNECTOR.name) -> None:
    """Holds a store against what must be true when nothing is under way."""
    generation, _ = await read_generation(store)
    assert not generation.intents, "a change is unfinished"
    connector = await store.read(f"connectors/{name}")
    live = connector is not None and not connector.data.get("deleted")
    newest = await store.newest(f"credentials/{name}")
    readable = [version for version in range(1, newest + 1) if await store.read(f"credentials/{name}", version)]
    assert connector is not None or not readable
    assert readable == ([connector.data["credential_version"]] if live and connector else []), "an orphan secret"
