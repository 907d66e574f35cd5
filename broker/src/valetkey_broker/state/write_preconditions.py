"""Reads what a change needs to find: an object that is there, or a name that is free.

What is there otherwise is announced, for it may have been written by hand, or by a process that died before saying so.
"""

from collections.abc import Awaitable, Callable

from valetkey_broker.errors import BrokerError
from valetkey_broker.ports import Document, StateStore
from valetkey_broker.state.codec import is_tombstone
from valetkey_broker.state.read_for_check_and_set import read_for_cas

Announce = Callable[[str], Awaitable[None]]
"""Takes over and announces a path that was written before."""


async def read_live(store: StateStore, path: str, announce: Announce, unknown: BrokerError) -> Document:
    """Returns the document at a path. Raises `unknown` where there is none, or a tombstone."""
    document = await store.read(path)
    if document is None:
        raise unknown
    if is_tombstone(document.data):
        await announce(path)
        raise unknown
    return document


async def version_of_free(store: StateStore, path: str, announce: Announce, taken: BrokerError) -> int:
    """Returns the version that a new object at a path has to replace. Raises `taken` where one is there."""
    document, version = await read_for_cas(store, path)
    if document is not None and not is_tombstone(document.data):
        await announce(path)
        raise taken
    return version
