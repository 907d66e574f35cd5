"""What a token may do."""

from collections.abc import Iterable
from enum import Enum

from valetkey_broker.model.errors import InvalidFieldError


class Permission(Enum):
    """One letter of a SAS `sp` field, in the order in which Azure wants them written.

    Source: https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas#specify-permissions
    """

    READ = "r"
    ADD = "a"
    CREATE = "c"
    WRITE = "w"
    DELETE = "d"
    LIST = "l"
    MOVE = "m"
    EXECUTE = "e"


OF_HIERARCHY = (Permission.MOVE, Permission.EXECUTE)
"""What only accounts with hierarchical namespace know."""
_ORDER = tuple(Permission)


class PermissionSet:
    """A non-empty set of permissions that knows its `sp` string.

    `needs_hierarchy` tells whether some of them are for accounts with hierarchical namespace only.
    """

    __slots__ = ("members", "needs_hierarchy", "sp")

    def __init__(self, permissions: Iterable[Permission]) -> None:
        wanted = frozenset(permissions)
        if not wanted:
            raise InvalidFieldError(
                "permissions", "none given", f"at least one of {', '.join(p.name.lower() for p in _ORDER)}"
            )
        self.members = tuple(p for p in _ORDER if p in wanted)
        self.sp = "".join(p.value for p in self.members)
        self.needs_hierarchy = not wanted.isdisjoint(OF_HIERARCHY)

    def __repr__(self) -> str:
        return f"PermissionSet({self.sp})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PermissionSet) and other.sp == self.sp

    def __hash__(self) -> int:
        return hash(self.sp)
