"""Whether all that happened to a document since a version is that a change of it was undone."""

from valetkey_broker.ports import Document, StateStore
from valetkey_broker.state.change_kinds import is_fence
from valetkey_broker.state.intent import STAMP


async def only_undone_since(store: StateStore, document: Document, path: str, version: int) -> bool:
    """Tells whether a document of a newer version says what it said in `version`: undoing a change counts it up."""
    earlier = await store.read(path, version) if is_fence(document.data) else None
    return earlier is not None and {**earlier.data, STAMP: ""} == {**document.data, STAMP: ""}
