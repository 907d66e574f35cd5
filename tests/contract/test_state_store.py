"""What every StateStore does: held against the fake, and against OpenBao through the real adapter."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.fake_store import FakeStateStore
from support.openbao import running_openbao, store_on
from valetkey_broker.ports import CasMismatchError, StateStore
from valetkey_devstack.openbao import OpenBao

pytestmark = pytest.mark.xdist_group("openbao-contract")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bao(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenBao]:
    directory: Path = tmp_path_factory.mktemp("contract")
    async with running_openbao(directory) as server:
        yield server


@pytest.fixture(params=["fake", "vault"])
async def store(request: pytest.FixtureRequest, bao: OpenBao) -> AsyncIterator[StateStore]:
    if request.param == "fake":
        yield FakeStateStore()
        return
    async with store_on(bao) as real:
        await real.open()
        yield real


@pytest.fixture
def folder() -> str:
    """A folder of each test's own, in a place that the broker's policy covers."""
    return f"connectors/{uuid.uuid4()}"


async def test_first_write_makes_version_1(store: StateStore, folder: str) -> None:
    """A new document is created by expecting 0, and reads back as it was."""
    data = {"text": "grüße\n", "number": 2**53, "yes": True, "none": None, "list": [1, {"deep": "er"}], "empty": {}}
    assert await store.write(f"{folder}/a", data, expected=0) == 1
    document = await store.read(f"{folder}/a")
    assert document is not None
    assert (document.version, document.data) == (1, data)


async def test_empty_document_is_there(store: StateStore, folder: str) -> None:
    """A document without fields is a document, not a missing one."""
    await store.write(f"{folder}/a", {}, expected=0)
    document = await store.read(f"{folder}/a")
    assert document is not None
    assert dict(document.data) == {}


async def test_what_was_read_is_a_copy(store: StateStore, folder: str) -> None:
    """Changing what was written or read does not change what is stored."""
    data = {"list": [1]}
    await store.write(f"{folder}/a", data, expected=0)
    data["list"].append(2)
    first = await store.read(f"{folder}/a")
    assert first is not None
    first.data["list"].append(3)
    second = await store.read(f"{folder}/a")
    assert second is not None
    assert second.data == {"list": [1]}


async def test_missing_document_reads_as_none(store: StateStore, folder: str) -> None:
    """What was never written is None with version 0, not an error."""
    assert await store.read(f"{folder}/a") is None
    assert await store.read(f"{folder}/a", 1) is None
    assert await store.newest(f"{folder}/a") == 0


async def test_many_read_as_each_by_itself(store: StateStore, folder: str) -> None:
    """A document, one of several versions, a missing and a destroyed one: reading them together tells the same."""
    await store.write(f"{folder}/a", {"n": 1, "text": "grüße"}, expected=0)
    await store.write(f"{folder}/b", {"n": 1}, expected=0)
    await store.write(f"{folder}/b", {}, expected=1)
    await store.write(f"{folder}/gone", {"n": 1}, expected=0)
    await store.destroy(f"{folder}/gone", [1])
    paths = [f"{folder}/{name}" for name in ("b", "missing", "a", "gone", "b")]
    one_by_one = [await store.read(path) for path in paths]
    for _ in range(2):  # On a fresh connection, and on one that is kept.
        assert await store.read_many(paths) == one_by_one
    assert await store.read_many([]) == []


@pytest.mark.parametrize("expected", [0, 1, 3, 99])
async def test_wrong_expectation_writes_nothing(store: StateStore, folder: str, expected: int) -> None:
    """A write that expects another version is refused whole: nobody overwrites what they have not seen."""
    await store.write(f"{folder}/a", {"n": 1}, expected=0)
    await store.write(f"{folder}/a", {"n": 2}, expected=1)
    with pytest.raises(CasMismatchError) as caught:
        await store.write(f"{folder}/a", {"n": "planted-secret"}, expected=expected)
    document = await store.read(f"{folder}/a")
    assert document is not None
    assert (document.version, document.data) == (2, {"n": 2})
    assert await store.newest(f"{folder}/a") == 2
    assert "planted-secret" not in repr(caught.value)


async def test_expecting_a_version_of_a_missing_document_creates_nothing(store: StateStore, folder: str) -> None:
    """A document that someone expects to be there is not made out of nothing."""
    with pytest.raises(CasMismatchError):
        await store.write(f"{folder}/a", {"n": 1}, expected=1)
    assert await store.read(f"{folder}/a") is None
    assert list(await store.names(folder)) == []


async def test_versions_count_up_and_old_ones_stay(store: StateStore, folder: str) -> None:
    """Every write is the next version; the earlier ones can still be read, which a rollback needs."""
    for number in (1, 2, 3):
        assert await store.write(f"{folder}/a", {"n": number}, expected=number - 1) == number
    for number in (1, 2, 3):
        document = await store.read(f"{folder}/a", number)
        assert document is not None
        assert (document.version, document.data) == (number, {"n": number})
    assert await store.read(f"{folder}/a", 4) is None
    assert await store.newest(f"{folder}/a") == 3


async def test_names_are_sorted_and_only_those_right_below(store: StateStore, folder: str) -> None:
    """A listing is the documents of one folder, in order, without what lies deeper."""
    assert list(await store.names(folder)) == []
    for name in ("b", "a-2", "a", "deeper/c", "a10"):
        await store.write(f"{folder}/{name}", {}, expected=0)
    assert list(await store.names(folder)) == ["a", "a-2", "a10", "b"]
    assert list(await store.names(f"{folder}/deeper")) == ["c"]


async def test_destroyed_data_is_gone_and_its_number_stays_used(store: StateStore, folder: str) -> None:
    """No version number ever means two things, also after its data was destroyed."""
    await store.write(f"{folder}/a", {"n": 1}, expected=0)
    await store.write(f"{folder}/a", {"n": 2}, expected=1)
    await store.destroy(f"{folder}/a", [2])
    assert await store.read(f"{folder}/a") is None
    assert await store.read(f"{folder}/a", 2) is None
    assert await store.newest(f"{folder}/a") == 2
    first = await store.read(f"{folder}/a", 1)
    assert first is not None
    assert first.data == {"n": 1}
    with pytest.raises(CasMismatchError):
        await store.write(f"{folder}/a", {"n": 3}, expected=0)
    assert await store.write(f"{folder}/a", {"n": 3}, expected=2) == 3


async def test_destroyed_document_stays_listed(store: StateStore, folder: str) -> None:
    """A name is listed as long as its version numbers are used; readers meet None there."""
    await store.write(f"{folder}/a", {"n": 1}, expected=0)
    await store.destroy(f"{folder}/a", [1])
    assert list(await store.names(folder)) == ["a"]


async def test_destroying_what_is_not_there_does_nothing(store: StateStore, folder: str) -> None:
    """A clean-up that runs twice, or after a half-done one, does not fail and makes no names."""
    await store.destroy(f"{folder}/a", [1])
    assert await store.newest(f"{folder}/a") == 0
    assert list(await store.names(folder)) == []
    await store.write(f"{folder}/a", {"n": 1}, expected=0)
    await store.destroy(f"{folder}/a", [])
    await store.destroy(f"{folder}/a", [5, 6])
    assert await store.read(f"{folder}/a") is not None
    await store.destroy(f"{folder}/a", [1])
    await store.destroy(f"{folder}/a", [1])
    assert await store.read(f"{folder}/a") is None


async def test_of_concurrent_writers_exactly_one_wins(store: StateStore, folder: str) -> None:
    """Two terminals that register one name at once: one gets it, the other is told."""
    outcomes = await asyncio.gather(
        *(store.write(f"{folder}/a", {"writer": number}, expected=0) for number in range(8)),
        return_exceptions=True,
    )
    assert outcomes.count(1) == 1
    assert sum(isinstance(outcome, CasMismatchError) for outcome in outcomes) == 7
    document = await store.read(f"{folder}/a")
    assert document is not None
    assert document.data == {"writer": outcomes.index(1)}


@pytest.mark.parametrize(
    "path",
    ["", "/", "a/", "/a", "a//b", "../a", "a/../b", "a/./b", "a%2fb", "a?version=1", "a#b", "A", "a b", "ä", "a\n"],
)
async def test_paths_outside_the_alphabet_are_refused(store: StateStore, path: str) -> None:
    """What a URL or a policy could read as another place never becomes a request."""
    with pytest.raises(ValueError, match="not a path"):
        await store.read(path)
    with pytest.raises(ValueError, match="not a path"):
        await store.write(path, {}, expected=0)
    with pytest.raises(ValueError, match="not a path"):
        await store.destroy(path, [1])
    with pytest.raises(ValueError, match="not a path"):
        await store.names(path)


async def test_documents_do_not_show_their_data(store: StateStore, folder: str) -> None:
    """A document that ends up in a log line or a traceback shows no secret."""
    await store.write(f"{folder}/a", {"secret": "planted-secret"}, expected=0)
    assert "planted-secret" not in repr(await store.read(f"{folder}/a"))


async def test_close_may_be_called_twice(store: StateStore) -> None:
    """Closing in reverse order after a failed start may meet a store that is closed already."""
    await store.close()
    await store.close()
