"""The roles of principals: those that the settings give by patterns of their names, and those of API keys."""

from collections.abc import Sequence

from valetkey_broker.model import Pattern, Role
from valetkey_broker.model.principal import key_of_principal
from valetkey_broker.ports import Clock
from valetkey_broker.state.memory import Memory

_NONE: frozenset[Role] = frozenset()


class RoleBindings:
    """Roles by principal; looked at once for each piece of evidence, when its principal is made."""

    def __init__(self, bindings: Sequence[tuple[Role, Sequence[Pattern]]] = ()) -> None:
        self._bindings = tuple((role, tuple(patterns)) for role, patterns in bindings)

    def of(self, principal: str) -> frozenset[Role]:
        """Returns the roles bound to a principal's name; none where no pattern matches."""
        if not self._bindings:
            return _NONE
        return frozenset(
            role for role, patterns in self._bindings if any(pattern.matches(principal) for pattern in patterns)
        )


class RolesNow:
    """Looks up what a principal may do that called a while ago, and of which no evidence is at hand."""

    def __init__(self, memory: Memory, bindings: RoleBindings, clock: Clock) -> None:
        self._memory = memory
        self._bindings = bindings
        self._clock = clock

    def of(self, principal: str, key_uid: str) -> frozenset[Role]:
        """Returns the roles that the principal of that name has now.

        An API key that was revoked, that ended, or in whose place is another has none; `key_uid` says which key it was.
        """
        bound = self._bindings.of(principal)
        name = key_of_principal(principal)
        if name is None:
            return bound
        known = self._memory.keys_by_name.get(name)
        if known is None or known.key.uid != key_uid or known.expires <= self._clock():
            return _NONE
        return known.key.roles | bound
