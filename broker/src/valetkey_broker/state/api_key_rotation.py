"""Rotates API keys in Vault."""

from collections.abc import Callable

from valetkey_broker.errors import api_key_not_found, changed_by_others
from valetkey_broker.model import ApiKey
from valetkey_broker.ports import StateStore
from valetkey_broker.state.change_kinds import PUT
from valetkey_broker.state.change_writer import Plan, Writes
from valetkey_broker.state.codec import decode_api_key, encode_api_key
from valetkey_broker.state.intent import STAMP, Intent
from valetkey_broker.state.memory_updates import API_KEYS
from valetkey_broker.state.write_preconditions import Announce, read_live


class ApiKeyWrites:
    """What StateRepository does for keys that are there. `announce` takes over and announces what was written."""

    def __init__(self, store: StateStore, writes: Writes, announce: Announce) -> None:
        self._store = store
        self._writes = writes
        self._announce = announce

    async def rotate(self, name: str, rotated: Callable[[ApiKey], ApiKey | None]) -> ApiKey:
        """Replaces a key by what `rotated` makes of it; None where it is so already. Returns it as it is then.

        The old hash and the new are in one document, so that no replica ever knows neither. Raises API_KEY_NOT_FOUND,
        also for one that is malformed, CONFLICT, or what `rotated` raises.
        """
        path = f"{API_KEYS}/{name}"
        after: ApiKey | None = None

        async def prepare() -> Plan | None:
            nonlocal after
            document = await read_live(self._store, path, self._announce, api_key_not_found(name))
            try:
                before = decode_api_key(name, document.data)
            except (KeyError, TypeError, ValueError):
                raise api_key_not_found(name) from None
            changed = rotated(before)
            after = changed or before
            if changed is None:
                await self._announce(path)
                return None
            # What only a later version of the broker knows of it stays.
            kept = {field: value for field, value in document.data.items() if field != STAMP}

            async def write(intent: Intent) -> None:
                data = intent.stamped({**kept, **encode_api_key(changed)})
                await self._store.write(path, data, expected=document.version)

            return Plan(kind=PUT, expected=document.version, first=write)

        if not await self._writes.make(path, prepare) or after is None:
            raise changed_by_others(path)
        return after
