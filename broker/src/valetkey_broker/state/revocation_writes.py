"""Writes revocations: each is one document, whose every change is check-and-set."""

from collections.abc import Awaitable, Callable

from valetkey_broker.concurrency.shielded_work import ShieldedWork, whole
from valetkey_broker.errors import changed_by_others, name_taken, revocation_not_found
from valetkey_broker.model.revocation import Revocation
from valetkey_broker.ports import StateStore
from valetkey_broker.state.change_kinds import PUT
from valetkey_broker.state.change_writer import Plan, Writes
from valetkey_broker.state.codec import is_tombstone
from valetkey_broker.state.intent import STAMP, Intent
from valetkey_broker.state.read_for_check_and_set import read_for_cas
from valetkey_broker.state.revocation_codec import decode_revocation, encode_revocation
from valetkey_broker.state.write_preconditions import Announce, read_live

FOLDER = "revocations"


class RevocationWrites:
    """Methods raise BrokerError with VAULT_UNAVAILABLE where Vault does not do its part.

    What a change does besides, such as asking Azure, it does while its intent is open: of several replicas one does it.
    Where that one dies before it wrote down what it did, the document says that it is still to be done.
    """

    def __init__(self, store: StateStore, writes: Writes, announce: Announce, background: ShieldedWork) -> None:
        self.background = background
        self._store = store
        self._writes = writes
        self._announce = announce

    @whole
    async def create(self, revocation: Revocation) -> Revocation:
        """Stores a new revocation. One of that name with the same target is returned, another raises CONFLICT."""
        path = _path(revocation.name)
        there: Revocation | None = None

        async def prepare() -> Plan | None:
            nonlocal there
            document, expected = await read_for_cas(self._store, path)
            if document is not None and not is_tombstone(document.data):
                await self._announce(path)
                there = decode_revocation(revocation.name, document.data)
                if (there.target, there.hard, there.in_force) != (revocation.target, revocation.hard, True):
                    raise name_taken(path)
                return None

            async def write(intent: Intent) -> None:
                data = intent.stamped(encode_revocation(revocation))
                await self._store.write(path, data, expected=expected)

            return Plan(kind=PUT, expected=expected, first=write)

        if not await self._writes.make(path, prepare):
            raise name_taken(path)
        return there or revocation

    @whole
    async def change(
        self,
        name: str,
        wanted: Callable[[Revocation], bool],
        work: Callable[[Revocation], Awaitable[Revocation]],
    ) -> Revocation:
        """Replaces a revocation by what `work` makes of it, if it is still `wanted`; returns it as it is then.

        Raises REVOCATION_NOT_FOUND, CONFLICT where somebody else changed it, and what `work` raises.
        """
        path = _path(name)
        revocation: Revocation | None = None

        async def prepare() -> Plan | None:
            nonlocal revocation
            document = await read_live(self._store, path, self._announce, revocation_not_found(name))
            there = revocation = decode_revocation(name, document.data)
            if not wanted(there):
                await self._announce(path)
                return None
            unmarked = {key: value for key, value in document.data.items() if key != STAMP}

            async def write(intent: Intent) -> None:
                nonlocal revocation
                revocation = await work(there)
                # What only a later version of the broker knows of it stays.
                data = intent.stamped({**unmarked, **encode_revocation(revocation)})
                await self._store.write(path, data, expected=document.version)

            return Plan(kind=PUT, expected=document.version, first=write)

        if not await self._writes.make(path, prepare) or revocation is None:
            raise changed_by_others(path)
        return revocation


def _path(name: str) -> str:
    return f"{FOLDER}/{name}"
