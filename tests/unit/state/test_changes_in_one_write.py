"""Changes that one process begins at the same moment: their intents are opened together, in one write."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from support.core import PLANTED, Replica, make_secret, make_sharing_connector
from support.crashes import GRANT, check_whole
from support.fake_store import FakeStateStore
from support.waiting import eventually
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import NamedSecret, Secret
from valetkey_broker.ports import Document
from valetkey_broker.state.change_kinds import RENAME_SECRET, UPDATE_SECRET
from valetkey_broker.state.generation_document import PATH
from valetkey_broker.state.generation_document_writer import GenerationWriter
from valetkey_broker.state.intent import Intent, encode_intent
from valetkey_broker.state.intents_under_way import Intents

_OLD, _NEW = "secrets/old", "secrets/new"
_RENAME = Intent(id="rename", kind=RENAME_SECRET, path=_NEW, expected=0, also=(_OLD,))
_UPDATE = Intent(id="update", kind=UPDATE_SECRET, path=_OLD, expected=1)
_OTHER_RENAME = Intent(id="other", kind=RENAME_SECRET, path="secrets/newer", expected=0, also=(_OLD,))


@pytest.mark.parametrize(
    ("first", "second"),
    [(_RENAME, _UPDATE), (_UPDATE, _RENAME), (_RENAME, _OTHER_RENAME)],
    ids=["also, path", "path, also", "also, also"],
)
async def test_one_change_at_a_time_has_a_path(first: Intent, second: Intent) -> None:
    """Of two that have a path in common the second one waits, whichever of their paths it is."""
    store = FakeStateStore()
    intents = Intents(GenerationWriter(store), abandoned_seconds=60)
    async with contextlib.AsyncExitStack() as held:
        opened = await asyncio.gather(*(held.enter_async_context(intents.opened(intent)) for intent in (first, second)))
    assert (opened, store.calls["write"]) == ([True, False], 1)


def test_an_intent_is_the_same_before_it_was_written() -> None:
    """Protects whoever looks at what others write together with it: JSON has no tuples."""
    encoded = encode_intent(_RENAME)
    assert json.loads(json.dumps(encoded)) == encoded


class _Busy(FakeStateStore):
    """A store in which the writes of a path wait, each path for its own event; `waiting` are those that do."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on: dict[str, asyncio.Event] = {}
        self.waiting: set[str] = set()
        self.looked = 0
        """How often somebody looked what is under way."""

    def hold(self, path: str) -> asyncio.Event:
        """Has writes of `path` wait until the event is set."""
        return self.go_on.setdefault(path, asyncio.Event())

    async def read(self, path: str, version: int | None = None) -> Document | None:
        self.looked += path == PATH
        return await super().read(path, version)

    async def write(self, path: str, data: Any, *, expected: int) -> int:
        if path in self.go_on:
            self.waiting.add(path)
            await self.go_on[path].wait()
        return await super().write(path, data, expected=expected)


Work = Callable[[Replica, NamedSecret], Coroutine[Any, Any, object]]


def _rename(replica: Replica, secret: NamedSecret) -> Coroutine[Any, Any, object]:
    return replica.repository.rename_secret(secret, "az_renamed", "key:ops")


def _update(replica: Replica, secret: NamedSecret) -> Coroutine[Any, Any, object]:
    return replica.repository.update_secret(secret, secret, ClientSecret(Secret("another")), verified=None)


def _delete(replica: Replica, secret: NamedSecret) -> Coroutine[Any, Any, object]:
    return replica.repository.delete_secret(secret.name, "key:ops")


def _use(replica: Replica, secret: NamedSecret) -> Coroutine[Any, Any, object]:
    return replica.repository.create_sharing_connector(make_sharing_connector(secret))


@pytest.mark.parametrize(
    ("one", "path", "other"),
    [
        (_rename, "secrets/az_renamed", _update),
        (_rename, "secrets/az_renamed", _delete),
        (_use, "connectors/azure-blob-demo", _delete),
    ],
    ids=["rename, update", "rename, delete", "use, delete"],
)
async def test_changes_of_one_secret_do_not_cross(one: Work, path: str, other: Work) -> None:
    """A secret has one name and its value, and whoever uses it has it, however its changes come together."""
    store = _Busy()
    replica = Replica(store, abandoned_seconds=60)
    secret = await replica.repository.create_secret(make_secret(), ClientSecret(Secret(PLANTED)))
    together, written = store.hold(PATH), store.hold(path)
    busy = asyncio.create_task(replica.repository.create_grant(GRANT))
    await eventually(lambda: PATH in store.waiting)
    works: list[asyncio.Task[object]] = []
    for work in (one, other):
        works.append(asyncio.create_task(work(replica, secret)))
        await eventually(lambda: len(replica.repository._journal._waiting) == len(works))
    together.set()
    await eventually(lambda: path in store.waiting)
    looked = store.looked
    await eventually(lambda: works[1].done() or store.looked > looked + 5)  # It is over, or waits for the other one.
    written.set()
    done = await asyncio.gather(busy, *works, return_exceptions=True)
    assert all(not isinstance(each, BaseException) or isinstance(each, BrokerError) for each in done)
    await check_whole(store)
