"""Keeps the copy in memory equal to what Vault holds."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from itertools import islice

import structlog

from valetkey_broker.concurrency.cooperative_slices import slices
from valetkey_broker.errors import secret_changed
from valetkey_broker.model import (
    Connector,
    Credential,
    CredentialValue,
    InvalidFieldError,
    NamedSecret,
    check_name,
    check_secret_name,
    rotated_object,
)
from valetkey_broker.model.errors import shown
from valetkey_broker.ports import AuthMethod, StateStore
from valetkey_broker.state.change_kinds import credential_path, shared_credential_path
from valetkey_broker.state.credential_cache import Credentials
from valetkey_broker.state.generation_document import NONE, Generation, read_generation
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.memory_updates import (
    FOLDERS,
    ROTATIONS,
    SECRETS,
    Kept,
    MemoryUpdates,
    OnConnectorChanged,
    in_order,
    is_kept,
)
from valetkey_broker.state.stale_read_guard import StaleReadGuard
from valetkey_broker.state.startup_snapshot import SnapshotDraft, Snapshots

# How many documents are read in one go, and how many such goes there are at the same time.
_BATCH = 20
_BATCHES_AT_ONCE = 3
# Taking over thousands of documents must not keep the calls waiting that are being served.
_TAKEN_AT_ONCE = 50
# How long a gentle reading rests, beside how long it reads.
_REST = 3.0
_LONGEST_REST_SECONDS = 0.05


class MemoryLoader:
    """Reads everything at the start, then what changed. All methods raise BrokerError with VAULT_UNAVAILABLE.

    Readings may overlap: a full one takes long, and neither news nor own changes wait for it. Memory never goes back to
    one that began earlier.
    """

    def __init__(
        self,
        store: StateStore,
        memory: Memory,
        auth_methods: Mapping[str, AuthMethod],
        on_connector_gone: Callable[[str], Awaitable[None]],
        on_connector_changed: OnConnectorChanged | None = None,
    ) -> None:
        """`on_connector_gone` hears the uid of a connector that went away; `on_connector_changed` of one whose way into
        the cloud is another now.
        """
        self._store = store
        self._auth_methods = auth_methods
        self._credentials = Credentials(store, memory, auth_methods)

        async def gone(uid: str) -> None:
            self._credentials.forget(uid)
            await on_connector_gone(uid)

        self._updates = MemoryUpdates(memory, auth_methods, gone, self._credentials.forget, on_connector_changed)
        self._seen = NONE
        self.loaded = False
        """Whether everything was read once."""
        self.complete = False
        """Whether every document was read by itself: what somebody changed by hand is known, too."""
        self._snapshots = Snapshots(store)
        self._draft: SnapshotDraft | None = None
        self._guard = StaleReadGuard()
        self._log = structlog.get_logger()

    async def load(self, *, gently: bool = False) -> None:
        """Reads everything, a first time from the snapshot. Memory changes at the end, and only where something did.

        `gently` leaves most of the processor to the calls that are being served; it takes longer.
        """
        generation, _ = await read_generation(self._store)
        self._observe(generation)
        if self.loaded or not await self._load_snapshot(generation):
            await self._load_each(generation, gently=gently)
        self.loaded = True
        self._credentials.read_ahead(anew=True)
        self._advance(generation)

    def known_credential(self, connector: Connector) -> Credential | None:
        """Returns the credential in use by `connector` if it is in memory."""
        return self._credentials.known(connector)

    async def previous_value(self, of: Connector | NamedSecret) -> CredentialValue | None:
        """Returns the credential before the one in use, from Vault; None where none is kept."""
        is_secret = isinstance(of, NamedSecret)
        path = shared_credential_path(of.uid) if is_secret else credential_path(f"connectors/{of.name}")
        kept = await self._store.read(path, of.previous_credential_version) if of.previous else None
        return self._auth_methods[of.previous.auth_method].decode(kept.data) if kept and of.previous else None

    async def secret_value(self, secret: NamedSecret) -> CredentialValue:
        """Returns the value of a named secret, from Vault. Raises CONFLICT where it changed."""
        document = await self._store.read(shared_credential_path(secret.uid), secret.credential_version)
        if document is None:
            raise secret_changed(secret.name)
        return self._auth_methods[secret.auth_method].decode(document.data)

    async def keep_snapshot(self) -> None:
        """Writes the snapshot that the next start takes, if the last full reading found that one is due."""
        draft, self._draft = self._draft, None
        if draft is not None:
            await self._snapshots.write(draft)

    async def _load_snapshot(self, generation: Generation) -> bool:
        """Takes the snapshot, and what changed since. Returns False where there is none that this can be done with."""
        copy = await self._snapshots.read()
        changed = generation.since(copy.counter) if copy is not None else None
        if copy is None or changed is None:
            return False
        with self._guard.reading() as number:
            again = set(filter(is_kept, changed | generation.being_changed()))
            known: list[tuple[str, Kept | None]] = []
            async for some in slices(list(copy.documents.items())):
                known += [
                    (path, self._updates.decode(path, document))
                    for path, document in some
                    if path not in again and is_kept(path) and self._is_name(*path.split("/", 1))
                ]
            await self._take(known + [each async for each in self._read(sorted(again))], number)
        self.complete = False
        return True

    async def _load_each(self, generation: Generation, *, gently: bool) -> None:
        draft = SnapshotDraft(generation.counter)
        with self._guard.reading() as number:
            listed = await asyncio.gather(*(self._store.names(folder) for folder in FOLDERS))
            paths = [
                f"{folder}/{name}"
                for folder, names in zip(FOLDERS, listed, strict=True)
                for name in names
                if self._is_name(folder, name)
            ]
            # Only what differs is kept until the end: memory is not to hold everything twice.
            changed = [
                (path, kept)
                async for path, kept in self._read(paths, gently=gently, draft=draft)
                if kept != self._updates.known(path)
            ]
            changed += [(path, None) for path in self._updates.paths().difference(paths)]
            await self._take(changed, number)
        self._draft = draft
        self.complete = True

    async def refresh(self) -> None:
        """Reads what changed since the last time, which mostly is nothing: one small read.

        What is being changed is read each time: whoever changes it may have died before saying that it is done.
        """
        generation, _ = await read_generation(self._store)
        self._observe(generation)
        changed = generation.since(self._seen.counter) if self.loaded else None
        if changed is None:
            await self.load()
            return
        await self._reload(changed | generation.being_changed())
        self._advance(generation)

    def _observe(self, generation: Generation) -> None:
        """Takes note of a generation that was read."""

    def _advance(self, generation: Generation) -> None:
        """Notes up to where memory is current. Of two readings that overlap the later generation counts."""
        if generation.counter > self._seen.counter or generation.since(self._seen.counter) is None:
            self._seen = generation

    def _is_name(self, folder: str, name: str) -> bool:
        try:
            of, _, called = (
                rotated_object(f"{folder}/{name}") if folder == ROTATIONS else f"{folder}/{name}"
            ).partition("/")
            (check_secret_name if of == SECRETS else check_name)("name", called)
        except InvalidFieldError:
            # Put there by hand: the store would not even read it, and the others must load all the same.
            self._log.error("an entry in Vault has no possible name and was ignored", folder=folder, name=shown(name))
            return False
        return True

    async def _reload(self, paths: Iterable[str]) -> None:
        with self._guard.reading() as number:
            await self._take([each async for each in self._read(sorted(filter(is_kept, paths)))], number)

    async def _read(
        self, paths: Iterable[str], *, gently: bool = False, draft: SnapshotDraft | None = None
    ) -> AsyncIterator[tuple[str, Kept | None]]:
        left = iter(paths)
        at_once = 1 if gently else _BATCHES_AT_ONCE
        while some := [batch for _ in range(at_once) if (batch := tuple(islice(left, _BATCH)))]:
            started = time.monotonic()
            read = await asyncio.gather(*map(self._store.read_many, some))
            for batch, documents in zip(some, read, strict=True):
                for path, document in zip(batch, documents, strict=True):
                    if draft is not None:
                        draft.add(path, document)
                    yield path, self._updates.decode(path, document)
                await asyncio.sleep(0)
            if gently:
                await asyncio.sleep(min(_REST * (time.monotonic() - started), _LONGEST_REST_SECONDS))

    async def _take(self, read: Iterable[tuple[str, Kept | None]], number: int) -> None:
        # What comes before what goes, and secrets before what uses them: a rename is both at once.
        in_turn = sorted(read, key=lambda each: (each[1] is None, in_order(each[0])))
        for count, (path, kept) in enumerate(in_turn, start=1):
            if self._guard.take(path, number):
                await self._updates.put(path, kept)
            if count % _TAKEN_AT_ONCE == 0:
                await asyncio.sleep(0)
        self._credentials.read_ahead()
