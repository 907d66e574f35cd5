"""Decodes the documents of Vault, and keeps the copy of them in memory in step."""

from collections.abc import Awaitable, Callable, Container, Sequence

import structlog

from valetkey_broker.model import ApiKey, Connector, Grant, NamedSecret, Rotation
from valetkey_broker.model.revocation import Revocation
from valetkey_broker.ports import Document
from valetkey_broker.state.codec import decode_api_key, decode_connector, decode_grant, decode_secret, is_tombstone
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.revocation_codec import decode_revocation
from valetkey_broker.state.rotation_codec import decode_rotation

SECRETS = "secrets"
CONNECTORS = "connectors"
API_KEYS = "api-keys"
GRANTS = "grants"
ROTATIONS = "rotations"
REVOCATIONS = "revocations"
FOLDERS = (SECRETS, REVOCATIONS, CONNECTORS, API_KEYS, GRANTS, ROTATIONS)
"""In the order in which they are taken over: connectors use secrets, and nothing is given before it is known what was
revoked."""
Kept = NamedSecret | Connector | ApiKey | Grant | Rotation | Revocation


OnConnectorChanged = Callable[[Connector], Awaitable[None]]
"""Hears of a connector, as it is now, whose way into the cloud is another than it was."""


class MemoryUpdates:
    """Decodes documents and puts them into memory. `on_connector_gone` hears the uid of a connector that went away, or
    uses another secret now; `on_secret_gone` that of a named secret.
    """

    def __init__(
        self,
        memory: Memory,
        auth_methods: Container[str],
        on_connector_gone: Callable[[str], Awaitable[None]],
        on_secret_gone: Callable[[str], None],
        on_connector_changed: OnConnectorChanged | None = None,
    ) -> None:
        self._memory = memory
        self._auth_methods = auth_methods
        self._on_connector_gone = on_connector_gone
        self._on_secret_gone = on_secret_gone
        self._on_connector_changed = on_connector_changed
        self._log = structlog.get_logger()

    def decode(self, path: str, document: Document | None) -> Kept | None:
        """Returns what a document holds; None for what is deleted, or malformed: that is not believed, and logged.

        A document that somebody edited by hand must not take the others down.
        """
        if document is None or is_tombstone(document.data):
            return None
        folder, _, name = path.partition("/")
        try:
            return self._decoded(folder, name, document)
        except (KeyError, TypeError, ValueError) as error:
            self._log.error(
                "a document in Vault is malformed and was ignored", path=path, error_type=type(error).__qualname__
            )
            return None

    def _decoded(self, folder: str, name: str, document: Document) -> Kept:
        if folder == SECRETS:
            return decode_secret(name, document.data, self._auth_methods)
        if folder == CONNECTORS:
            return decode_connector(name, document.data, document.version, self._auth_methods)
        if folder == API_KEYS:
            return decode_api_key(name, document.data)
        if folder == ROTATIONS:
            return decode_rotation(f"{folder}/{name}", document.data, document.version)
        if folder == REVOCATIONS:
            return decode_revocation(name, document.data)
        return decode_grant(name, document.data, document.version)

    def known(self, path: str) -> Kept | None:
        """Returns what memory has for a path."""
        folder, _, name = path.partition("/")
        if folder == SECRETS:
            return self._memory.secrets.get(name)
        if folder == CONNECTORS:
            return self._memory.stored_connector(name)
        if folder == API_KEYS:
            known = self._memory.keys_by_name.get(name)
            return known.key if known else None
        if folder == ROTATIONS:
            return self._memory.rotations.get(path)
        if folder == REVOCATIONS:
            return self._memory.revocations.get(name)
        return self._memory.grants.get(name)

    def paths(self) -> set[str]:
        """Returns the paths of all that memory has."""
        return self._memory.rotations.keys() | {
            f"{folder}/{name}"
            for folder, names in (
                (SECRETS, self._memory.secrets),
                (CONNECTORS, self._memory.connectors.keys() | self._memory.named_secrets.connectors()),
                (API_KEYS, self._memory.keys_by_name),
                (GRANTS, self._memory.grants),
                (REVOCATIONS, self._memory.revocations),
            )
            for name in names
        }

    async def put(self, path: str, kept: Kept | None) -> None:
        """Makes memory hold that for a path; None: nothing."""
        folder, _, name = path.partition("/")
        before = self.known(path)
        working = [self._memory.connectors.get(each) for each in self._touched(folder, name, kept)]
        if kept is None:
            self._drop(folder, name)
        elif isinstance(kept, Rotation):
            self._memory.put_rotation(kept)
        else:
            self._keep(kept)
        if isinstance(before, NamedSecret) and not self._memory.named_secrets.knows(before.uid):
            self._on_secret_gone(before.uid)
        if isinstance(before, Connector) and not (isinstance(kept, Connector) and _same(kept, before)):
            await self._on_connector_gone(before.uid)
        for connector in working:
            if connector is not None:
                await self._tell(connector)

    def _touched(self, folder: str, name: str, kept: Kept | None) -> Sequence[str]:
        """Returns the names of the connectors that may work in another way from now on."""
        if isinstance(kept, NamedSecret):
            return self._memory.named_secrets.users(kept.uid)
        return (name,) if folder == CONNECTORS else ()

    async def _tell(self, before: Connector) -> None:
        now = self._memory.connectors.get(before.name)
        if now is None or now.uid != before.uid or now.way_in == before.way_in:
            return
        if self._on_connector_changed is not None:
            await self._on_connector_changed(now)

    def _keep(self, kept: NamedSecret | Connector | ApiKey | Grant | Revocation) -> None:
        memory = self._memory
        if isinstance(kept, NamedSecret):
            memory.put_secret(kept)
        elif isinstance(kept, ApiKey):
            memory.put_api_key(kept)
        elif isinstance(kept, Grant):
            memory.put_grant(kept)
        elif isinstance(kept, Revocation):
            memory.put_revocation(kept)
        else:
            memory.put_connector(kept)
            if kept.name not in memory.connectors:
                self._log.error(
                    "a connector uses a named secret that is not in Vault; delete the connector and register it again",
                    connector=kept.name,
                )

    def _drop(self, folder: str, name: str) -> None:
        drops = {
            SECRETS: self._memory.drop_secret,
            CONNECTORS: self._memory.drop_connector,
            API_KEYS: self._memory.drop_api_key,
            GRANTS: self._memory.drop_grant,
            ROTATIONS: self._memory.drop_rotation,
            REVOCATIONS: self._memory.drop_revocation,
        }
        drops[folder](name)


def _same(one: Connector, other: Connector) -> bool:
    """Tells whether what is remembered of one connector holds for the other."""
    return (one.uid, one.secret_uid) == (other.uid, other.secret_uid)


def in_order(path: str) -> int:
    """Returns the rank of a path among those that are taken over together."""
    return FOLDERS.index(path.partition("/")[0])


def is_kept(path: str) -> bool:
    """Tells whether memory keeps what is at a path."""
    return path.partition("/")[0] in FOLDERS
