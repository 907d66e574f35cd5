"""Who may have what: one grant must allow all of a request. Nothing is asked of anybody to decide it."""

import math
from collections.abc import Mapping, Sequence

from valetkey_broker.authz.compiled_grants import CompiledGrant, GrantIndex, inside
from valetkey_broker.authz.revocation_rules import refused, without_revoked
from valetkey_broker.errors import (
    BrokerError,
    address_denied,
    connector_denied,
    connector_not_found,
    host_unknown,
    identity_expired,
    permissions_denied,
    resource_denied,
)
from valetkey_broker.model import (
    RESOURCE_TYPES,
    CloudProfile,
    Connector,
    Evidence,
    Grant,
    InvalidFieldError,
    PermissionSet,
    Principal,
    ResourceId,
    Role,
    TtlLimit,
)
from valetkey_broker.model.errors import shown_seconds
from valetkey_broker.model.revocation import Revocation
from valetkey_broker.model.statically_frozen import statically_frozen
from valetkey_broker.ports import Clock
from valetkey_broker.state.memory import Memory

_SEES_ALL = frozenset({Role.ADMIN, Role.OPERATOR, Role.VIEWER})
_WHOLE = ("",)


@statically_frozen
class Allowance:
    """What a grant allows by one connector: a token of `ttl` seconds, bound to `source_ip` where that is not empty.

    `ends` is when what allows it does, in Unix seconds; no token outlives it. `limited_by` is None where `ttl` is as
    long as was asked for.
    """

    connector: Connector
    grant: Grant
    ttl: int
    ends: float
    source_ip: str
    limited_by: TtlLimit | None


class Policy:
    """Decides by the grants in memory. Roles let nobody have tokens; only grants do."""

    def __init__(
        self,
        memory: Memory,
        clock: Clock,
        profiles: Mapping[str, CloudProfile] | None = None,
        *,
        ttl_within_identity: bool = False,
    ) -> None:
        """`profiles` are the clouds whose hosts resource ids may name; without them hosts are not looked at.

        With `ttl_within_identity` a token ends with the JWT or the certificate that it was given for; with the API key
        it always does (docs/adr/0009).
        """
        self.index = GrantIndex(memory)
        self._memory = memory
        self._clock = clock
        self._profiles = profiles or {}
        self._ttl_within_identity = ttl_within_identity

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
        counts, then the first by name. Raises RESOURCE_DENIED, in words that tell a stranger nothing of what exists,
        RESOURCE_NOT_FOUND where a grant allows all but the host, ACCESS_REVOKED where one would allow it, or
        CREDENTIALS_EXPIRED.
        """
        now = self._clock()
        until = self._identity_end(principal)
        longest = ttl if until >= now + ttl else int(until - now)
        if longest < 1:
            raise identity_expired()
        connectors = self._memory.connectors
        in_force, revocation = self._memory.in_force, None
        allowed = []
        for route in self.index.routes(principal, resource, permissions):
            if connector and route.connector != connector:
                continue
            known = connectors.get(route.connector)
            if known is None or known.uid != route.uid:
                continue
            if not serves(known, resource) or not self.is_at(known, resource):
                continue
            best = route.best(resource.prefix, longest, source_ip, now)
            if best is not None and in_force:
                left, covers = without_revoked(in_force, route, principal, known, resource)
                best = left.best(resource.prefix, longest, source_ip, now)
                revocation = revocation or covers
            if best is not None:
                grant, seconds = best
                limit = None
                if seconds < ttl:
                    limit = TtlLimit.IDENTITY_END if seconds == longest else grant.limit(seconds)
                bound = source_ip or grant.grant.source_ip
                allowed.append(Allowance(known, grant.grant, seconds, min(grant.expires, until), bound, limit))
        if not allowed:
            denial = self._denial(principal, resource, permissions, connector, source_ip)
            raise denial if revocation is None else refused(resource, revocation)
        return allowed

    @property
    def in_force(self) -> Sequence[Revocation]:
        """What operators took back and have not lifted."""
        return self._memory.in_force

    def _identity_end(self, principal: Principal) -> float:
        """Returns when the caller's identity ends a token, in Unix seconds."""
        within = self._ttl_within_identity or principal.evidence is Evidence.API_KEY
        return principal.expires if within else math.inf

    def endpoint(self, connector: Connector, account: str, resource_type: str) -> str:
        """Returns the endpoint of an account in a connector's cloud; empty where the settings lack that cloud."""
        profile = self._profiles.get(connector.azure.cloud)
        return RESOURCE_TYPES[resource_type].endpoint(profile, account) if profile is not None else ""

    def is_at(self, connector: Connector, resource: ResourceId) -> bool:
        """Tells whether the host that a resource id names, if any, is one of the connector's cloud, which is known."""
        if self._profiles and connector.azure.cloud not in self._profiles:
            return False
        if resource.endpoint is None or resource.account is None:
            return True
        return self.endpoint(connector, resource.account, resource.type) in ("", resource.endpoint)

    def live_connectors(self, grant: CompiledGrant) -> Sequence[Connector]:
        """Returns the connectors that a grant was given for and that are still there, by name."""
        known = ((granted, self._memory.connectors.get(granted.name)) for granted in grant.grant.connectors)
        # A later connector of that name is not the one that the grant was given for.
        live = (c for granted, c in known if c is not None and c.uid == granted.uid)
        return sorted(live, key=lambda c: c.name)

    def visible(self, principal: Principal) -> "Visible":
        """Returns what a principal gets to see in lists."""
        return Visible(principal, self, self._memory, self._clock())

    def _denial(
        self, principal: Principal, resource: ResourceId, permissions: PermissionSet, connector: str, source_ip: str
    ) -> BrokerError:
        """Says what is missing where a grant means the caller and all else fits; of other grants it says nothing."""
        now = self._clock()
        served: list[tuple[CompiledGrant, Sequence[Connector]]] = [
            (grant, connectors)
            for grant in self.index.meaning(principal, resource.key)
            if grant.seconds(1, now) == 1
            and grant.admits_prefix(resource.prefix)
            and (
                connectors := [
                    c for c in self.live_connectors(grant) if connector in ("", c.name) and serves(c, resource)
                ]
            )
        ]
        near = [grant for grant, connectors in served if any(self.is_at(c, resource) for c in connectors)]
        if served and not near:
            elsewhere = {c.name: c for _, connectors in served for c in connectors}
            there = {
                (c.azure.cloud, self.endpoint(c, resource.account or "", resource.type)) for c in elsewhere.values()
            }
            known = sorted((cloud, endpoint) for cloud, endpoint in there if endpoint)
            if resource.endpoint is None or not known:
                return resource_denied(principal, resource, connector, permissions.members)
            return host_unknown(resource, known)
        reachable = [grant for grant in near if grant.admits_address(source_ip)]
        if reachable:
            least = min((grant.missing(permissions) for grant in reachable), key=len)
            return permissions_denied(principal, resource, least, connector)
        if any(not grant.missing(permissions) for grant in near):
            return address_denied(principal, resource, source_ip, connector)
        missing = bool(connector) and connector not in self._memory.connectors and principal.has_any(_SEES_ALL)
        return resource_denied(principal, resource, connector, permissions.members, no_such_connector=missing)


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
            if connector.uid in uids and grant.admits_container(resource.key):
                if not grant.grant.prefixes:
                    return _WHOLE
                prefixes.update(p for p in grant.grant.prefixes if not resource.prefix or inside(resource.prefix, p))
        return sorted(prefixes)


def serves(connector: Connector, resource: ResourceId) -> bool:
    """Tells whether a connector can be meant: one may be for a single type, container or account."""
    if connector.resource_type != resource.type and connector.resource_type is not None:
        return False
    own = connector.resource
    if own is None:
        return resource.account is None or connector.azure.storage_account in ("", resource.account)
    return own.container == resource.container and (resource.account is None or resource.account == own.account)


def asked_ttl(ttl: int | None, default: int, most: int) -> int:
    """Returns for how many seconds a token is asked for. Raises InvalidFieldError for more than `most`, or none."""
    if ttl is None:
        return default
    if not 1 <= ttl <= most:
        raise InvalidFieldError(
            "ttl", f"is {shown_seconds(ttl)}", f"1s to {shown_seconds(most)}, the limit of this broker"
        )
    return ttl
