"""What a document in Vault is to memory."""

from collections.abc import Awaitable, Callable, Container

import structlog

from valetkey_broker.model import ApiKey, Connector, Grant
from valetkey_broker.ports import Document
from valetkey_broker.state.codec import decode_api_key, decode_connector, decode_grant, is_tombstone
from valetkey_broker.state.memory import Memory

CONNECTORS = "connectors"
API_KEYS = "api-keys"
GRANTS = "grants"
FOLDERS = (CONNECTORS, API_KEYS, GRANTS)
Kept = Connector | ApiKey | Grant


class Intake:
    """Decodes documents and puts them into memory. `on_connector_gone` hears the uid of a connector that went away."""

    def __init__(
        self, memory: Memory, auth_methods: Container[str], on_connector_gone: Callable[[str], Awaitable[None]]
    ) -> None:
        self._memory = memory
        self._auth_methods = auth_methods
        self._on_connector_gone = on_connector_gone
        self._log = structlog.get_logger()

    def decode(self, path: str, document: Document | None) -> Kept | None:
        """Returns what a document holds; None for what is deleted, or malformed: that is not believed, and logged.

        A document that somebody edited by hand must not take the others down.
        """
        if document is None or is_tombstone(document.data):
            return None
        folder, _, name = path.partition("/")
        try:
            if folder == CONNECTORS:
                return decode_connector(name, document.data, document.version, self._auth_methods)
            if folder == API_KEYS:
                return decode_api_key(name, document.data)
            return decode_grant(name, document.data, document.version)
        except (KeyError, TypeError, ValueError) as error:
            self._log.error(
                "a document in Vault is malformed and was ignored", path=path, error_type=type(error).__qualname__
            )
            return None

    def known(self, path: str) -> Kept | None:
        """Returns what memory has for a path."""
        folder, _, name = path.partition("/")
        if folder == CONNECTORS:
            return self._memory.connectors.get(name)
        if folder == API_KEYS:
            known = self._memory.keys_by_name.get(name)
            return known.key if known else None
        return self._memory.grants.get(name)

    def paths(self) -> set[str]:
        """Returns the paths of all that memory has."""
        return {
            f"{folder}/{name}"
            for folder, names in (
                (CONNECTORS, self._memory.connectors),
                (API_KEYS, self._memory.keys_by_name),
                (GRANTS, self._memory.grants),
            )
            for name in names
        }

    async def put(self, path: str, kept: Kept | None) -> None:
        """Makes memory hold that for a path; None: nothing."""
        folder, _, name = path.partition("/")
        before = self.known(path)
        if isinstance(kept, Connector):
            self._memory.put_connector(kept)
        elif isinstance(kept, ApiKey):
            self._memory.put_api_key(kept)
        elif isinstance(kept, Grant):
            self._memory.put_grant(kept)
        elif folder == CONNECTORS:
            self._memory.drop_connector(name)
        elif folder == API_KEYS:
            self._memory.drop_api_key(name)
        elif folder == GRANTS:
            self._memory.drop_grant(name)
        if isinstance(before, Connector) and (not isinstance(kept, Connector) or kept.uid != before.uid):
            await self._on_connector_gone(before.uid)


def is_kept(path: str) -> bool:
    """Tells whether memory keeps what is at a path."""
    return path.partition("/")[0] in FOLDERS
