"""Tells whether a newer version of a document only fences off a change that was undone, with the content as it was."""

from valetkey_broker.ports import Document, StateStore
from valetkey_broker.state.change_kinds import is_fence
from valetkey_broker.state.intent import STAMP


async def unchanged_since(store: StateStore, document: Document, path: str, version: int) -> bool:
    """Tells whether a document says what it said in an earlier version: undoing a change counts its version up."""
    earlier = await store.read(path, version) if is_fence(document.data) else None
    return earlier is not None and {**earlier.data, STAMP: ""} == {**document.data, STAMP: ""}
