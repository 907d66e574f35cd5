"""What the transport has to know of each method that it serves; the table itself stands beside the services."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from valetkey_broker.errors import role_required
from valetkey_broker.limits import Bucket
from valetkey_broker.model import Principal, Role


class Access(Enum):
    """What a method needs when it needs no role."""

    PUBLIC = "anyone"
    AUTHENTICATED = "any authenticated caller"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for, for the record of its refusal; `permissions` are Azure's letters."""

    connector: str = ""
    resource: str = ""
    permissions: str = ""
    purpose: str = ""


def _nothing(_request: Any) -> Asked:
    return Asked()


def _no_summary(_request: Any) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table of methods."""

    needs: frozenset[Role] | Access
    """The roles of which the caller must hold one."""
    change: Callable[[Any], str] | None = None
    """Of a method that changes something: gives, of its request, what is changed, for example `grants/training`. Such
    a call is recorded before and after, and goes on where its caller hangs up."""
    summary: Callable[[Any], Mapping[str, str]] = _no_summary
    """Gives, of such a request, what is short and not secret in it, for the details of the record."""
    bucket: Bucket | None = None
    """The bucket of the caller's that a call takes a token from."""
    cost: Callable[[Any], int] | None = None
    """Gives, of a request, how many tokens it takes from there; left out, one, before the request is read."""
    catches_up: bool = True
    """Whether memory catches up with Vault first. Of what was done before it came, by whatever replica, the call then
    knows. Tokens do not wait for that unless they would be refused."""
    quiet: bool = False
    """Whether calls that succeed are left out of the log."""
    asked: Callable[[Any], Asked] = _nothing
    """Gives, of a request that was refused, what it asked for."""

    def require_role(self, principal: Principal, method: str) -> None:
        """Raises ROLE_REQUIRED where `principal` may not call it."""
        if isinstance(self.needs, Access) or not principal.roles.isdisjoint(self.needs):
            return
        wanted = " or ".join(sorted(role.value for role in self.needs))
        raise role_required(
            f"{principal.name} may not call {method.rpartition('/')[2]}; it needs the role {wanted}"
            if wanted
            else "nobody may call this method",
            method=method,
            needs=wanted or "nobody",
        )


Methods = Mapping[str, Method]
"""The table: `/package.Service/Method` → its row."""

FOR_NOBODY = Method(needs=frozenset())
"""The row of a method that is served and stands in no table."""
FOR_ANYBODY = Method(needs=Access.PUBLIC)
"""The row of methods that do not exist: anybody may be told so."""
