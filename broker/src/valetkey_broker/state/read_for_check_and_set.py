"""Reads a document together with the version that a check-and-set write has to expect."""

from valetkey_broker.ports import Document, StateStore


async def read_for_cas(store: StateStore, path: str) -> tuple[Document | None, int]:
    """Returns the document at `path`, None where there is none, and the version that a write has to replace.

    Whatever somebody writes in between, a check-and-set against that version fails: the number is never younger than
    the document.
    """
    document = await store.read(path)
    if document is None:  # Never written, or destroyed by hand: then its number counts on.
        version = await store.newest(path)
        if version:
            document = await store.read(path)
        if document is None:
            return None, version
    return document, document.version
