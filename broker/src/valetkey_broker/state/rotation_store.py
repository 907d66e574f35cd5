"""Keeps rotations in Vault: their documents, which are their locks too, and the credentials that are not in use yet."""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from valetkey_broker.errors import changed_by_others, rotation_taken_over
from valetkey_broker.model import Rotation, rotation_path
from valetkey_broker.ports import CasMismatchError, StateStore
from valetkey_broker.state.change_kinds import BEGIN_ROTATION
from valetkey_broker.state.change_writer import Plan, Writes
from valetkey_broker.state.intent import STAMP, Intent
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.read_for_check_and_set import read_for_cas
from valetkey_broker.state.rotation_codec import encode_rotation, readable_rotation
from valetkey_broker.state.stale_read_guard import StaleReadGuard
from valetkey_broker.state.unfinished_rotation import under_way


class LostRotation(Exception):  # noqa: N818 (no error: what somebody else does from now on)
    """Somebody else wrote the rotation: it has another holder, was aborted, or is over."""


class RotationStore:
    """The one writer of rotations. All methods raise VAULT_UNAVAILABLE where Vault does not do its part.

    Only the beginning is a change of two writes, and so an intent; every later step is one check-and-set. What a step
    does elsewhere, such as giving a connector its new credential, is a change of its own.
    """

    def __init__(self, store: StateStore, memory: Memory, writes: Writes, guard: StaleReadGuard) -> None:
        self._store = store
        self._memory = memory
        self._writes = writes
        self._guard = guard

    async def read(self, path: str) -> Rotation | None:
        """Returns the rotation at a path as it is now; None where there is none, or one that nobody can read."""
        with self._guard.reading() as number:
            rotation = readable_rotation(path, await self._store.read(path))
            if rotation is not None:
                self._take(rotation, number)
        return rotation

    async def catch_up(self, object_path: str, uid: str) -> None:
        """Has memory know how far the rotation of an object is, where one is known that is not over.

        Another replica may have gone on with it, or ended it: steps of rotations are no news that `refresh` would read.
        That one began is.
        """
        if self._memory.rotation_of(object_path, uid) is not None:
            await self.read(rotation_path(object_path))

    async def check_none_under_way(self, object_path: str, uid: str) -> None:
        """Raises ROTATION_UNDER_WAY where one of that object is known that is not over, as it is in Vault now."""
        await self.catch_up(object_path, uid)
        if (found := self._memory.rotation_of(object_path, uid)) is not None:
            raise under_way(found)

    async def begin(self, draft: Rotation, candidate: Mapping[str, str] | None) -> Rotation:
        """Stores a rotation with the credential that it is to prove, if it has one by now.

        Raises ROTATION_UNDER_WAY where there is one that is not over, or CONFLICT where another began just now.
        """
        path, begun = draft.path, draft

        async def prepare() -> Plan:
            nonlocal begun
            document, expected = await read_for_cas(self._store, path)
            if document is not None:
                there = await self.read(path)
                # What another object of that name left cannot be brought to its end any more: that is gone.
                if there is not None and not there.state.ended and there.object_uid == draft.object_uid:
                    raise under_way(there)
            version = await self._store.newest(draft.candidate_path) + 1 if candidate is not None else 0
            begun = replace(draft, candidate=version, version=expected + 1)
            details = {
                "document": encode_rotation(begun),
                "credential": version,
                "keep": 0,
                "credential_path": draft.candidate_path,
            }
            return Plan(
                kind=BEGIN_ROTATION,
                expected=expected,
                first=write_candidate if candidate is not None else None,
                details=details,
            )

        async def write_candidate(intent: Intent) -> None:
            await self._store.write(draft.candidate_path, intent.stamped(candidate or {}), expected=begun.candidate - 1)

        if not await self._writes.make(path, prepare):
            there = await self.read(path)
            raise under_way(there) if there is not None and not there.state.ended else changed_by_others(path)
        return begun

    async def write(self, rotation: Rotation) -> Rotation:
        """Writes the next version of a rotation and returns it. Raises LostRotation where somebody else did."""
        try:
            version = await self._store.write(rotation.path, encode_rotation(rotation), expected=rotation.version)
        except CasMismatchError:
            raise LostRotation from None
        written = replace(rotation, version=version)
        known = self._memory.rotations.get(rotation.path)
        if known is None or known.version < version:  # Else the answer came late, and others have written since.
            with self._guard.reading() as number:
                self._take(written, number)
        return written

    def _take(self, rotation: Rotation, number: int) -> None:
        if self._guard.take(rotation.path, number):
            self._memory.put_rotation(rotation)

    async def check_held(self, rotation: Rotation) -> None:
        """Raises CONFLICT unless the rotation stands where its holder saw it: with the same holder, in the same state.

        Asked with an intent open for what gets the credential, it fences off who was only slow: others look at the
        object after they took the rotation, and wait for that intent then, or settle it; see `decided`.
        """
        now = await self.read(rotation.path)
        if now is None or (now.id, now.fence, now.state) != (rotation.id, rotation.fence, rotation.state):
            raise rotation_taken_over(rotation.object)

    async def decided(self, rotation: Rotation) -> None:
        """Returns once no change of what gets the credential is under way: then nobody makes a switch any more that
        was begun before. Raises CONFLICT where one does not come to an end.
        """
        await self._writes.over(rotation.object)

    async def candidate(self, rotation: Rotation) -> Mapping[str, Any] | None:
        """Returns the credential that is to be proved, as its auth method encodes it; None where there is none."""
        document = await self._store.read(rotation.candidate_path, rotation.candidate) if rotation.candidate else None
        if document is None or "void" in document.data:
            return None
        return {name: value for name, value in document.data.items() if name != STAMP}

    async def next_candidate(self, rotation: Rotation) -> int:
        """Returns the version that a candidate would have which is written next."""
        return await self._store.newest(rotation.candidate_path) + 1

    async def keep_candidate(self, rotation: Rotation, candidate: Mapping[str, str]) -> None:
        """Stores the credential that is to be proved as version `rotation.candidate`, which was noted before.

        May be called again. Raises LostRotation where somebody else has stored one.
        """
        try:
            await self._store.write(rotation.candidate_path, candidate, expected=rotation.candidate - 1)
        except CasMismatchError:
            raise LostRotation from None

    async def destroy_candidate(self, rotation: Rotation) -> None:
        """Destroys the credential that was to be proved, and those of earlier rotations. May be called again.

        None of a later rotation, whoever is so slow as to call it then. One that was noted and is not there does not
        come any more, from a process that was only slow: nobody would look for it.
        """
        if rotation.candidate:
            if await self._store.newest(rotation.candidate_path) == rotation.candidate - 1:
                with contextlib.suppress(CasMismatchError):  # It came just now.
                    await self._store.write(rotation.candidate_path, {"void": True}, expected=rotation.candidate - 1)
            await self._store.destroy(rotation.candidate_path, range(1, rotation.candidate + 1))
