"""Authenticates callers by API key."""

from dataclasses import dataclass, field, replace
from types import MappingProxyType

from valetkey_broker.authn.roles import RoleBindings
from valetkey_broker.errors import credentials_expired, credentials_invalid
from valetkey_broker.model import Principal, api_key_digest
from valetkey_broker.model.principal import KEY_UID
from valetkey_broker.ports import Clock
from valetkey_broker.state.memory import KnownKey, Memory

PREFIX = "vk_"
_MOST_PRINCIPALS = 10_000


@dataclass(frozen=True, slots=True)
class KeyPrincipal(Principal):
    """A principal that keeps the SHA-256 of its key: of the secrets that a key had, each ends at its own time."""

    digest: bytes = field(kw_only=True, repr=False, compare=False)


class ApiKeyVerifier:
    """Looks a presented key up by its SHA-256, so how long that takes tells nothing about the key itself."""

    def __init__(self, memory: Memory, clock: Clock, roles: RoleBindings) -> None:
        self._memory = memory
        self._clock = clock
        self._roles = roles
        self._principals: dict[bytes, tuple[KnownKey, Principal]] = {}

    def verify(self, presented: str) -> Principal:
        """Returns the principal of a key. Raises BrokerError: CREDENTIALS_INVALID or CREDENTIALS_EXPIRED."""
        digest = api_key_digest(presented)
        known = self._memory.keys_by_digest.get(digest) if digest is not None else None
        if digest is None or known is None:
            raise credentials_invalid("the API key is unknown or revoked; check it, or ask an admin for a new one")
        if known.expires <= self._clock():
            mend = "it was rotated: use the new one" if known.replaced else "ask an admin for a new one"
            raise credentials_expired("API key", known.expires, mend)
        made = self._principals.get(digest)
        # Whatever changes a key makes a new KnownKey.
        if made is None or made[0] is not known:
            if len(self._principals) >= _MOST_PRINCIPALS:
                self._principals.clear()
            made = self._principals[digest] = (known, self._principal(known, digest))
        return made[1]

    def still_valid(self, principal: Principal) -> bool:
        """Tells whether the key that made `principal` is still admitted; a new key of the same name is another one."""
        known = self._known(principal)
        return known is not None and known.expires > self._clock()

    def refreshed(self, principal: Principal) -> Principal:
        """Returns a principal with the end that its key has now, which a rotation brings forward."""
        known = self._known(principal)
        return (
            principal
            if known is None or known.expires >= principal.expires
            else replace(principal, expires=known.expires)
        )

    def _known(self, principal: Principal) -> KnownKey | None:
        if not isinstance(principal, KeyPrincipal):
            return None
        known = self._memory.keys_by_digest.get(principal.digest)
        return known if known is not None and known.key.uid == principal.attributes.get(KEY_UID) else None

    def _principal(self, known: KnownKey, digest: bytes) -> Principal:
        principal = known.principal
        return KeyPrincipal(
            name=principal.name,
            roles=principal.roles | self._roles.of(principal.name),
            evidence=principal.evidence,
            expires=principal.expires,
            attributes=MappingProxyType({**principal.attributes, KEY_UID: known.key.uid}),
            digest=digest,
        )
