"""Changes whose caller hangs up, or whose Vault fails, half-way: nothing is left behind, and the news gets through."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from support.core import PLANTED, Replica, make_api_key, make_connector
from support.fake_store import FakeStateStore
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Connector, Secret
from valetkey_broker.ports import CasMismatchError
from valetkey_broker.state.generation_document import read_generation

_AWAY = BrokerError(Reason.VAULT_UNAVAILABLE, "away", {"cause": "timeout"})
_NAME = "azure-blob-demo"
_PATH = f"connectors/{_NAME}"


async def _create(replica: Replica, secret: str = PLANTED) -> Connector:
    return await replica.repository.create_connector(make_connector(_NAME, version=0), ClientSecret(Secret(secret)))


async def _delete(replica: Replica) -> None:
    await replica.repository.delete_connector(_NAME, "key:ops")


async def _readable(store: FakeStateStore) -> dict[int, str]:
    newest = await store.newest(f"credentials/{_NAME}")
    documents = [await store.read(f"credentials/{_NAME}", version) for version in range(1, newest + 1)]
    return {document.version: document.data["client_secret"] for document in documents if document}


async def _loaded(store: FakeStateStore) -> Replica:
    late = Replica(store)
    await late.repository.load()
    return late


async def _refused(call: Awaitable[object]) -> Reason:
    with pytest.raises(BrokerError) as caught:
        await call
    return caught.value.reason


async def _hang_up(call: Awaitable[object], steps: int) -> None:
    caller = asyncio.ensure_future(call)
    for _ in range(steps):
        await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)


class FaultyStore(FakeStateStore):
    """Fails the next write below `folder`; before it takes effect, after it did, or so that it does so later."""

    def __init__(self, folder: str = "connectors/", effect: str = "none") -> None:
        super().__init__()
        self.folder = folder
        self.effect = effect
        self.armed = True
        self.second = False  # Set: the next write goes through, the one after that fails.
        self.stays_away = False
        self.late: Callable[[], Awaitable[int]] | None = None

    async def write(self, path: str, data: Mapping[str, Any], *, expected: int) -> int:
        if path.startswith(self.folder) and self.second:
            self.second, self.armed = False, True
            return await super().write(path, data, expected=expected)
        if not self.armed or not path.startswith(self.folder):
            return await super().write(path, data, expected=expected)
        self.armed = False
        if self.effect == "done":
            await super().write(path, data, expected=expected)
        if self.effect == "late":
            self.late = lambda: FakeStateStore.write(self, path, data, expected=expected)
        if self.stays_away:
            self.fail_with = _AWAY
        raise _AWAY


@pytest.mark.parametrize("steps", range(1, 24))
async def test_a_create_whose_caller_hangs_up_is_not_cut_in_two(steps: int) -> None:
    """At whatever moment: the connector is there with its secret, and other replicas hear of it."""
    store = FakeStateStore()
    replica, other = Replica(store), await _loaded(store)
    await _hang_up(_create(replica), steps)
    await replica.repository.close()
    await other.repository.refresh()
    connector = other.memory.connectors[_NAME]
    assert await _readable(store) == {connector.credential_version: PLANTED}


@pytest.mark.parametrize("steps", range(1, 24))
async def test_a_delete_whose_caller_hangs_up_is_not_cut_in_two(steps: int) -> None:
    """At whatever moment: the connector is gone everywhere, and so is its secret."""
    store = FakeStateStore()
    replica = Replica(store)
    await _create(replica)
    other = await _loaded(store)
    await _hang_up(_delete(replica), steps)
    await replica.repository.close()
    await other.repository.refresh()
    assert other.memory.connectors == {}
    assert await _readable(store) == {}


@pytest.mark.parametrize("steps", range(1, 12))
async def test_a_revocation_whose_caller_hangs_up_reaches_all(steps: int) -> None:
    """A key that an operator has begun to revoke is not honoured for long by anybody."""
    store = FakeStateStore()
    replica = Replica(store)
    await replica.repository.create_api_key(make_api_key())
    other = await _loaded(store)
    await _hang_up(replica.repository.revoke_api_key("trainer", "key:admin"), steps)
    await replica.repository.close()
    await other.repository.refresh()
    assert other.memory.keys_by_digest == {}


@pytest.mark.parametrize("folder", ["credentials/", "connectors/"])
@pytest.mark.parametrize("effect", ["none", "done", "late"])
async def test_a_failed_write_leaves_no_secret_without_its_connector(folder: str, effect: str) -> None:
    """Vault fails, or only its answer is lost, or the write is made after all later: each secret has its connector."""
    store = FaultyStore(folder, effect)
    replica = Replica(store)
    (created,) = await asyncio.gather(_create(replica), return_exceptions=True)
    if effect == "late":
        assert store.late is not None
        with pytest.raises(CasMismatchError):
            await store.late()
    late = await _loaded(store)
    if folder == "connectors/" or effect == "done":
        assert created == late.memory.connectors[_NAME], "the secret was there, so the rest could be done"
        assert await _readable(store) == {1: PLANTED}
    else:
        assert created is _AWAY
        assert late.memory.connectors == {}
        assert await _readable(store) == {}
        assert await _create(replica, "again")
    await _delete(replica)
    assert await _readable(store) == {}


@pytest.mark.parametrize("folder", ["credentials/", "connectors/"])
@pytest.mark.parametrize("effect", ["none", "done"])
async def test_what_vault_is_away_for_is_settled_when_it_is_back(folder: str, effect: str) -> None:
    """A create whose secret is not there is undone at a later poll, any other finished; other replicas hear of it."""
    store = FaultyStore(folder, effect)
    store.stays_away = True
    replica, other = Replica(store), Replica(store)
    with capture_logs() as logs:
        assert await _refused(_create(replica)) is Reason.VAULT_UNAVAILABLE
        store.fail_with = None
        await replica.poll()
    there = (folder, effect) != ("credentials/", "none")
    (line,) = logs
    assert (line["event"], line["path"]) == ("settled a change that its writer left", _PATH)
    assert line["outcome"] == ("made" if there else "not made")
    assert PLANTED not in str(logs)
    assert [made for _, made in replica.settled] == [there]
    await other.repository.refresh()
    assert list(other.memory.connectors) == ([_NAME] if there else [])
    assert await _readable(store) == ({1: PLANTED} if there else {})


async def test_what_cannot_be_settled_is_told_once_and_tried_again() -> None:
    """An outage in mid-change is one line, not one a poll, and the object is free again as soon as it is settled."""
    store = FaultyStore("connectors/")
    replica = Replica(store)
    store.stays_away = True
    assert await _refused(_create(replica)) is Reason.VAULT_UNAVAILABLE
    store.fail_only = ("write",)
    with capture_logs() as logs:
        for _ in range(3):
            await replica.poll()
        assert [line["event"] for line in logs] == [
            "an unfinished change cannot be settled yet; trying again at each poll"
        ]
        store.fail_with = None
        await replica.poll()
    await _delete(replica)
    assert await _readable(store) == {}


async def test_a_delete_that_could_not_destroy_says_so_and_does_it_later() -> None:
    """The operator hears that Vault failed; the secret goes as soon as it can, asked again or not."""
    store = FakeStateStore()
    replica = Replica(store)
    await _create(replica)
    store.fail_with, store.fail_only = _AWAY, ("destroy",)
    assert await _refused(_delete(replica)) is Reason.VAULT_UNAVAILABLE
    assert replica.memory.connectors == {}
    store.fail_with = None
    await replica.poll()
    assert await _readable(store) == {}


@pytest.mark.parametrize("deleted_before", [False, True])
async def test_deleting_a_name_without_a_connector_destroys_what_is_left(*, deleted_before: bool) -> None:
    """A secret that a broker left as it died has no connector to delete; deleting the name does it."""
    store = FakeStateStore()
    replica = Replica(store)
    if deleted_before:
        await _create(replica)
        await _delete(replica)
    newest = await store.newest(f"credentials/{_NAME}")
    await store.write(f"credentials/{_NAME}", {"client_secret": "orphan"}, expected=newest)
    assert await _refused(_delete(replica)) is Reason.CONNECTOR_NOT_FOUND
    assert await _readable(store) == {}
    store.calls.clear()
    assert await _refused(_delete(replica)) is Reason.CONNECTOR_NOT_FOUND
    assert await store.newest(_PATH) == 1 + 2 * deleted_before, "one tombstone is enough"


@pytest.mark.parametrize("head_start", range(16))
async def test_deleting_a_name_that_is_being_registered_spoils_nothing(head_start: int) -> None:
    """However the two interleave: a connector that is there has its secret, and none is left without one."""
    store = FakeStateStore()
    creator, deleter = Replica(store), Replica(store)
    creating = asyncio.ensure_future(_create(creator))
    for _ in range(head_start):
        await asyncio.sleep(0)
    (deleted,) = await asyncio.gather(_delete(deleter), return_exceptions=True)
    (created,) = await asyncio.gather(creating, return_exceptions=True)
    late = await _loaded(store)
    if late.memory.connectors:
        assert created == late.memory.connectors[_NAME]
        assert isinstance(deleted, BrokerError)
        assert deleted.reason in (Reason.CONFLICT, Reason.CONNECTOR_NOT_FOUND)
        assert await _readable(store) == {late.memory.connectors[_NAME].credential_version: PLANTED}
    else:
        assert await _readable(store) == {}
    if isinstance(created, BrokerError):
        assert created.reason is Reason.CONFLICT


@pytest.mark.parametrize("spoil", [{}, {"credential_version": "x"}, {"deleted": True}])
async def test_a_connector_that_was_edited_by_hand_can_be_deleted(spoil: dict[str, Any]) -> None:
    """A document without its credential version is no reason to keep the secret, or to answer INTERNAL."""
    store = FakeStateStore()
    replica = Replica(store)
    await _create(replica)
    await store.write(_PATH, spoil, expected=1)
    if spoil.get("deleted"):
        assert await _refused(_delete(replica)) is Reason.CONNECTOR_NOT_FOUND
    else:
        await _delete(replica)
    assert await _readable(store) == {}
    assert await _create(replica, "after")


class MeetingStore(FakeStateStore):
    """Lets something happen right before one call, once."""

    def __init__(self, method: str, path: str, then: Callable[["MeetingStore"], Awaitable[object]]) -> None:
        super().__init__()
        self._where = (method, path)
        self._then: Callable[[MeetingStore], Awaitable[object]] | None = then

    async def _enter(self, method: str, path: str | None = None) -> None:
        then = self._then
        if then is not None and (method, path) == self._where:
            self._then = None
            await then(self)
        await super()._enter(method, path)


@pytest.mark.parametrize("meeting", [("newest", _PATH), ("newest", f"credentials/{_NAME}")])
async def test_a_creator_who_comes_late_overwrites_nothing(meeting: tuple[str, str]) -> None:
    """Somebody else registers the name before this one has said that it will: theirs stands, the late one is told."""
    store = MeetingStore(*meeting, lambda store: _create(Replica(store), "winner"))
    assert await _refused(_create(Replica(store), "loser")) is Reason.CONNECTOR_EXISTS
    assert await _readable(store) == {1: "winner"}
    assert await store.newest(f"credentials/{_NAME}") == 1, "Vault keeps ten: the late one's would push out another"
    assert list((await _loaded(store)).memory.connectors) == [_NAME]


async def test_a_creator_who_waited_for_another_writes_nothing() -> None:
    """Vault keeps ten versions: many losers who wrote their secrets all the same could push out the winner's."""
    others: list[asyncio.Task[Connector]] = []

    async def come(store: MeetingStore) -> None:
        others.extend(asyncio.create_task(_create(Replica(store), "loser")) for _ in range(12))
        for _ in range(20):
            await asyncio.sleep(0)

    store = MeetingStore("write", f"credentials/{_NAME}", come)
    await _create(Replica(store), "winner")
    refusals = await asyncio.gather(*others, return_exceptions=True)
    assert {getattr(refusal, "reason", None) for refusal in refusals} == {Reason.CONNECTOR_EXISTS}
    assert await _readable(store) == {1: "winner"}
    assert await store.newest(f"credentials/{_NAME}") == 1


async def test_a_revocation_whose_news_failed_reaches_all_all_the_same() -> None:
    """A revocation is promised to all replicas within the polling time, not at their next full reading."""
    store = FaultyStore("generation")
    store.armed = False
    replica = Replica(store)
    await replica.repository.create_api_key(make_api_key())
    other = await _loaded(store)
    with capture_logs() as logs:
        store.second = True
        await replica.repository.revoke_api_key("trainer", "key:admin")
        await other.repository.refresh()
        assert other.memory.keys_by_digest == {}
        await replica.poll()
    assert [(line["event"], line["path"]) for line in logs] == [
        ("a change is not announced yet; replicas look for it until it is", "api-keys/trainer"),
        ("settled a change that its writer left", "api-keys/trainer"),
    ]
    assert not (await read_generation(store))[0].intents
