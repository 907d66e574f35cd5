"""Whether somebody who is known by an API key can call at all."""

from datetime import UTC, datetime

from valetkey_broker.model.principal import key_of_principal
from valetkey_broker.ports import Clock
from valetkey_broker.state.memory import Memory


class MissingKey:
    """Says it of principals by their names, from memory.

    Of those whom an issuer or a certificate vouches for, nobody but these knows it, and of a key nobody knows whether
    its holder has the secret that it has now.
    """

    def __init__(self, memory: Memory, clock: Clock) -> None:
        self._memory = memory
        self._clock = clock

    def of(self, principal: str) -> str:
        """Returns why nobody can call as that principal now; empty where somebody can, or where it is not known."""
        name = key_of_principal(principal)
        if name is None:
            return ""
        known = self._memory.keys_by_name.get(name)
        if known is None:
            return f"there is no API key {name}: it was revoked, or not created yet"
        if known.expires <= self._clock():
            ended = datetime.fromtimestamp(known.expires, UTC).isoformat(timespec="seconds")
            return f"the API key {name} expired at {ended}; an admin has to replace it"
        return ""
