"""Authenticates callers by API key."""

from dataclasses import replace
from types import MappingProxyType

from cachetools import LRUCache

from valetkey_broker.authn.roles import RoleBindings
from valetkey_broker.errors import credentials_expired, credentials_invalid
from valetkey_broker.model import Principal, api_key_digest
from valetkey_broker.ports import Clock
from valetkey_broker.state.memory import KnownKey, Memory

PREFIX = "vk_"
_UID = "key-uid"
_MOST_PRINCIPALS = 10_000


class ApiKeyVerifier:
    """Looks a presented key up by its SHA-256, so how long that takes tells nothing about the key itself."""

    def __init__(self, memory: Memory, clock: Clock, roles: RoleBindings) -> None:
        self._memory = memory
        self._clock = clock
        self._roles = roles
        self._principals: LRUCache[bytes, tuple[KnownKey, Principal]] = LRUCache(_MOST_PRINCIPALS)

    def verify(self, presented: str) -> Principal:
        """Returns the principal of a key. Raises BrokerError: CREDENTIALS_INVALID or CREDENTIALS_EXPIRED."""
        digest = api_key_digest(presented)
        known = self._memory.keys_by_digest.get(digest) if digest is not None else None
        if digest is None or known is None:
            raise credentials_invalid("the API key is unknown or revoked; check it, or ask an admin for a new one")
        if known.expires <= self._clock():
            raise credentials_expired("API key", known.expires, "ask an admin for a new one")
        made = self._principals.get(digest)
        # Whatever changes a key makes a new KnownKey.
        if made is None or made[0] is not known:
            made = (known, self._principal(known))
            self._principals[digest] = made
        return made[1]

    def still_valid(self, principal: Principal) -> bool:
        """Tells whether the key that made `principal` is still admitted; a new key of the same name is another one."""
        known = self._memory.keys_by_name.get(principal.name.removeprefix("key:"))
        return known is not None and known.key.uid == principal.attributes.get(_UID)

    def _principal(self, known: KnownKey) -> Principal:
        principal = known.principal
        return replace(
            principal,
            roles=principal.roles | self._roles.of(principal.name),
            attributes=MappingProxyType({**principal.attributes, _UID: known.key.uid}),
        )
