"""Who may have what: one grant must allow all of a request. Nothing is asked of anybody to decide it."""

from collections.abc import Sequence

from valetkey_broker.authz.grants import CompiledGrant, GrantIndex, inside
from valetkey_broker.errors import (
    BrokerError,
    address_denied,
    connector_denied,
    connector_not_found,
    permissions_denied,
    resource_denied,
)
from valetkey_broker.model import Connector, Grant, PermissionSet, Principal, ResourceId, Role
from valetkey_broker.model.statically_frozen import statically_frozen
from valetkey_broker.ports import Clock
from valetkey_broker.state.memory import Memory

_SEES_ALL = frozenset({Role.ADMIN, Role.OPERATOR, Role.VIEWER})
_WHOLE = ("",)


@statically_frozen
class Allowance:
    """What a grant allows by one connector: a token of `ttl` seconds, bound to `source_ip` where that is not empty.

    `ends` is when the grant itself does, in Unix seconds; no token outlives it.
    """

    connector: Connector
    grant: Grant
    ttl: int
    ends: float
    source_ip: str


class Policy:
    """Decides by the grants in memory. Roles let nobody have tokens; only grants do."""

    def __init__(self, memory: Memory, clock: Clock) -> None:
        self.index = GrantIndex(memory)
        self._memory = memory
        self._clock = clock

    def decide(
        self,
        principal: Principal,
        resource: ResourceId,
        permissions: PermissionSet,
        *,
        ttl: int,
        connector: str = "",
        source_ip: str = "",
    ) -> Sequence[Allowance]:
        """Returns what the best grant allows by each connector to `resource`, or by `connector` only; never empty.

        `ttl` is in seconds, `source_ip` in canonical form. Of several grants the one that lets the token live longest
        counts, then the first by name. Raises RESOURCE_DENIED, in words that tell a stranger nothing of what exists.
        """
        now = self._clock()
        connectors = self._memory.connectors
        allowed = []
        for route in self.index.routes(principal, resource, permissions):
            if connector and route.connector != connector:
                continue
            known = connectors.get(route.connector)
            if known is None or known.uid != route.uid or not serves(known, resource):
                continue
            best = route.best(ttl, source_ip, now)
            if best is not None:
                grant, seconds = best
                allowed.append(
                    Allowance(known, grant.grant, seconds, grant.expires, source_ip or grant.grant.source_ip)
                )
        if not allowed:
            raise self._denial(principal, resource, permissions, connector, source_ip)
        return allowed

    def live_connectors(self, grant: CompiledGrant) -> Sequence[Connector]:
        """Returns the connectors that a grant was given for and that are still there, by name."""
        known = [self._memory.connectors.get(granted.name) for granted in grant.grant.connectors]
        return sorted((c for c in known if c is not None and grant.binds(c)), key=lambda c: c.name)

    def visible(self, principal: Principal) -> "Visible":
        """Returns what a principal gets to see in lists."""
        return Visible(principal, self, self._memory, self._clock())

    def _denial(
        self, principal: Principal, resource: ResourceId, permissions: PermissionSet, connector: str, source_ip: str
    ) -> BrokerError:
        """Says what is missing where a grant means the caller and all else fits; of other grants it says nothing."""
        now = self._clock()
        near: list[CompiledGrant] = [
            grant
            for grant in self.index.meaning(principal, resource.container)
            if grant.seconds(1, now) == 1
            and grant.admits_prefix(resource.prefix)
            and any(connector in ("", c.name) and serves(c, resource) for c in self.live_connectors(grant))
        ]
        reachable = [grant for grant in near if grant.admits_address(source_ip)]
        if reachable:
            least = min((grant.missing(permissions) for grant in reachable), key=len)
            return permissions_denied(principal, resource, least, connector)
        if any(not grant.missing(permissions) for grant in near):
            return address_denied(principal, resource, source_ip, connector)
        return resource_denied(principal, resource, connector)


class Visible:
    """What one principal gets to see at one moment: all for people with a role for it, else what grants let it use."""

    def __init__(self, principal: Principal, policy: Policy, memory: Memory, now: float) -> None:
        self._principal = principal
        self._memory = memory
        self._all = principal.has_any(_SEES_ALL)
        self._grants: Sequence[tuple[CompiledGrant, frozenset[str]]] = [
            (grant, frozenset(connector.uid for connector in policy.live_connectors(grant)))
            for grant in policy.index.naming(principal.name)
            if grant.expires > now and not grant.lacking(principal.attributes)
        ]

    def connectors(self, name: str = "") -> Sequence[Connector]:
        """Returns the connectors by name, or the one of that name.

        Raises RESOURCE_DENIED, in the same words, whether a named one is forbidden or does not exist; who sees all
        there is anyway is told CONNECTOR_NOT_FOUND.
        """
        known = self._memory.connectors
        uids = frozenset[str]().union(*(uids for _, uids in self._grants))
        if not name:
            return [known[n] for n in sorted(known) if self._all or known[n].uid in uids]
        connector = known.get(name)
        if connector is not None and (self._all or connector.uid in uids):
            return (connector,)
        if self._all:
            raise connector_not_found(name)
        raise connector_denied(self._principal, name)

    def scopes(self, connector: Connector, resource: ResourceId) -> Sequence[str]:
        """Returns the paths that may be used in a container by a connector; an empty path stands for all of it.

        Where the resource itself is a path, only what holds it counts.
        """
        if self._all:
            return _WHOLE
        prefixes: set[str] = set()
        for grant, uids in self._grants:
            if connector.uid in uids and grant.admits_container(resource.container):
                if not grant.grant.prefixes:
                    return _WHOLE
                prefixes.update(p for p in grant.grant.prefixes if not resource.prefix or inside(resource.prefix, p))
        return sorted(prefixes)


def serves(connector: Connector, resource: ResourceId) -> bool:
    """Tells whether a connector can be meant: a single-instance one serves its own container only."""
    own = connector.resource
    return own is None or (
        own.container == resource.container and (resource.account is None or resource.account == own.account)
    )
