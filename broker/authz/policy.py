"""Which connectors a principal may use. Until grants land, a consumer's key names them."""

from collections.abc import Sequence

from broker.errors import BrokerError, Reason
from broker.model import Connector, Principal, Role
from broker.state.memory import Memory

_SEES_ALL = frozenset({Role.ADMIN, Role.OPERATOR, Role.VIEWER})


def usable_connectors(principal: Principal, memory: Memory, name: str = "") -> Sequence[Connector]:
    """Returns the connectors `principal` may get tokens from, by name; only `name` where it is given.

    Raises RESOURCE_DENIED, in the same words, whether a named connector is forbidden or does not exist: a refusal must
    not tell strangers what there is. An admin sees all there is anyway and is told CONNECTOR_NOT_FOUND.
    """
    return _pick(principal, memory, name, sees_all=Role.ADMIN in principal.roles)


def visible_connectors(principal: Principal, memory: Memory, name: str = "") -> Sequence[Connector]:
    """Returns the connectors whose resources `principal` may list; otherwise like `usable_connectors`."""
    return _pick(principal, memory, name, sees_all=principal.has_any(_SEES_ALL))


def _pick(principal: Principal, memory: Memory, name: str, *, sees_all: bool) -> Sequence[Connector]:
    connectors = memory.connectors
    if name:
        connector = connectors.get(name)
        if connector is not None and (sees_all or name in principal.connectors):
            return (connector,)
        if sees_all:
            raise BrokerError(Reason.CONNECTOR_NOT_FOUND, f"no connector is named {name}", {"connector": name})
        raise BrokerError(
            Reason.RESOURCE_DENIED,
            f"{principal.name} may not use a connector named {name}; `valetkey service-connector list-resources` "
            "shows what it may use",
            {"connector": name},
        )
    if sees_all:
        return [connectors[known] for known in sorted(connectors)]
    if len(principal.connectors) == 1:  # The common case of a stack component, on the hot path.
        (only,) = principal.connectors
        connector = connectors.get(only)
        return (connector,) if connector is not None else ()
    return [connectors[known] for known in sorted(principal.connectors) if known in connectors]
