"""The kinds of change, and how any replica brings one to its end, whatever was done of it already."""

import contextlib
from collections.abc import Mapping
from typing import Any

from valetkey_broker.ports import CasMismatchError, StateStore
from valetkey_broker.state.intent import STAMP, Intent
from valetkey_broker.state.read_for_check_and_set import read_for_cas
from valetkey_broker.state.unfinished_rotation import unfinished_rotation


class Kind:
    """A change whose content only its own process has, such as a new grant: others can only see to it that it is over.

    Every method may run twice, and in two processes at once: each write is check-and-set, and each destroys only what
    is nobody's.
    """

    async def document(self, _store: StateStore, _intent: Intent) -> Mapping[str, Any] | None:
        """Returns what is to be written at the intent's path; None where that can no longer be."""
        return None

    async def made(self, store: StateStore, intent: Intent) -> None:
        """Does what is to be done after the document was written."""

    async def lost(self, store: StateStore, intent: Intent) -> None:
        """Undoes what was done before the document could not be written."""


class _Bury(Kind):
    """An object goes: its document becomes a tombstone."""

    async def document(self, _store: StateStore, intent: Intent) -> Mapping[str, Any] | None:
        return dict(intent.details["document"])


class _Register(Kind):
    """A connector, or a named secret, comes: first the credential, as version `credential`, by whoever has it; then the
    document.
    """

    async def document(self, store: StateStore, intent: Intent) -> Mapping[str, Any] | None:
        path, version = _credential_path(intent), int(intent.details["credential"])
        if await _own_secret(store, intent):
            return dict(intent.details["document"])
        try:  # So that the secret does not come after all, from a process that was only slow.
            await store.write(path, intent.stamped({"void": True}), expected=version - 1)
        except CasMismatchError:
            if await _own_secret(store, intent):
                return dict(intent.details["document"])
        await self.lost(store, intent)
        return None

    async def lost(self, store: StateStore, intent: Intent) -> None:
        path, version = _credential_path(intent), int(intent.details["credential"])
        secret = await store.read(path, version)
        if secret is not None and intent.wrote(secret.data):
            await store.destroy(path, [version])


class _Update(_Register):
    """A connector, or a named secret, changes: first its new credential, if there is one, as in `_Register`; then the
    document. So does a rotation that begins, with the credential that it is to prove.

    Of the credentials before, the one that was in use, `keep`, stays: replicas that are a poll behind still log in with
    it, and it is what a rotation goes back to.
    """

    async def document(self, store: StateStore, intent: Intent) -> Mapping[str, Any] | None:
        if not intent.details["credential"]:
            return dict(intent.details["document"])
        return await super().document(store, intent)

    async def made(self, store: StateStore, intent: Intent) -> None:
        keep = int(intent.details["keep"])
        older = [version for version in range(1, int(intent.details["credential"])) if version != keep]
        if older:
            await store.destroy(_credential_path(intent), older)

    async def lost(self, store: StateStore, intent: Intent) -> None:
        if intent.details["credential"]:
            await super().lost(store, intent)


class _Unregister(_Bury):
    """A connector goes, and with it every version of its secret up to `credential`."""

    async def made(self, store: StateStore, intent: Intent) -> None:
        await _destroy_credential(store, intent)


class _Share(Kind):
    """A connector comes that uses the named secret in `also`: only while that is there, in version `shared`."""

    async def document(self, store: StateStore, intent: Intent) -> Mapping[str, Any] | None:
        document = dict(intent.details["document"])
        wanted = (document["secret"], intent.details["shared"])
        secret = await store.read(intent.also[0])
        there = secret is not None and (secret.data.get("uid"), secret.data.get("credential_version")) == wanted
        return document if there else None


class _Rename(Kind):
    """A named secret goes from the first path in `also`, where it has version `old`, to that of the intent."""

    async def document(self, store: StateStore, intent: Intent) -> Mapping[str, Any] | None:
        document, path = dict(intent.details["document"]), intent.also[0]
        as_it_was = await store.newest(path) == int(intent.details["old"])
        # A rotation goes by the name: one may have begun before this intent was open.
        if not as_it_was or await unfinished_rotation(store, path, str(document.get("uid"))) is not None:
            return None
        return document

    async def made(self, store: StateStore, intent: Intent) -> None:
        tombstone = intent.stamped(intent.details["tombstone"])
        with contextlib.suppress(CasMismatchError):  # Then it was done before.
            await store.write(intent.also[0], tombstone, expected=int(intent.details["old"]))


class _Withdraw(Kind):
    """A named secret goes, and with it every version of its value up to `credential`.

    Whether somebody uses it, only its own process looks: cut off before the tombstone is written, it is undone.
    """

    async def made(self, store: StateStore, intent: Intent) -> None:
        await _destroy_credential(store, intent)


PUT, BURY, REGISTER, UPDATE, UNREGISTER = "put", "bury", "register", "update", "unregister"
SHARE = "register-with-secret"
CREATE_SECRET, UPDATE_SECRET = "create-secret", "update-secret"
RENAME_SECRET, DELETE_SECRET = "rename-secret", "delete-secret"
BEGIN_ROTATION = "begin-rotation"
_FENCE = "not "
KINDS: Mapping[str, Kind] = {
    PUT: Kind(),
    BURY: _Bury(),
    REGISTER: _Register(),
    UPDATE: _Update(),
    UNREGISTER: _Unregister(),
    SHARE: _Share(),
    CREATE_SECRET: _Register(),
    UPDATE_SECRET: _Update(),
    RENAME_SECRET: _Rename(),
    DELETE_SECRET: _Withdraw(),
    BEGIN_ROTATION: _Update(),
}


async def settle(store: StateStore, intent: Intent, *, ready: bool = False) -> bool:
    """Brings a change to its end, and tells whether it was made. May be called again, and by two at once.

    With `ready` the caller knows that everything was done up to the document at the intent's path.
    """
    kind = KINDS[intent.kind]
    if ready and await _write(store, intent, dict(intent.details["document"])):
        await kind.made(store, intent)
        return True
    while True:  # Ends: each round that loses means that the path has another version, which is looked at next.
        newest = await store.newest(intent.path)
        if newest > intent.expected:
            own = await store.read(intent.path, intent.expected + 1)
            if own is not None and intent.wrote(own.data):
                await kind.made(store, intent)
                return True
        if newest != intent.expected:
            await kind.lost(store, intent)
            return False
        document = await kind.document(store, intent)
        if document is not None:
            await _write(store, intent, document)
        else:
            await _fence(store, intent)


def credential_path(path: str) -> str:
    """Returns where the secret of the connector at `path` is."""
    return f"credentials/{path.partition('/')[2]}"


def shared_credential_path(uid: str) -> str:
    """Returns where the value of the named secret with that uid is: it stays there, whatever the secret is called."""
    return f"shared-credentials/{uid}"


def is_fence(data: Mapping[str, Any]) -> bool:
    """Tells whether a document only repeats the one before, so that a change cannot come any more."""
    return str(data.get(STAMP, "")).startswith(_FENCE)


def _credential_path(intent: Intent) -> str:
    return str(intent.details.get("credential_path") or credential_path(intent.path))


async def _destroy_credential(store: StateStore, intent: Intent) -> None:
    if newest := int(intent.details["credential"]):
        await store.destroy(_credential_path(intent), range(1, newest + 1))


async def _own_secret(store: StateStore, intent: Intent) -> bool:
    secret = await store.read(_credential_path(intent), int(intent.details["credential"]))
    return secret is not None and intent.wrote(secret.data) and "void" not in secret.data


async def _write(store: StateStore, intent: Intent, document: Mapping[str, Any]) -> bool:
    try:
        await store.write(intent.path, intent.stamped(document), expected=intent.expected)
    except CasMismatchError:
        return False
    return True


async def _fence(store: StateStore, intent: Intent) -> None:
    """Takes the version that the change would write, leaving everything as it is: now it cannot come any more."""
    document, version = await read_for_cas(store, intent.path)
    if version == intent.expected:
        as_it_was = document.data if document is not None else {"deleted": True}
        try:
            await store.write(intent.path, {**as_it_was, STAMP: f"{_FENCE}{intent.id}"}, expected=version)
        except CasMismatchError:
            return
