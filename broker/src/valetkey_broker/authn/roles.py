"""The roles that the settings give to people, by patterns of their principals."""

from collections.abc import Sequence

from valetkey_broker.model import Pattern, Role

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
