"""Grants, compiled when they change, so that deciding costs the same however many there are."""

import ipaddress
import itertools
import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from valetkey_broker.authz.affix_index import AffixIndex, Around
from valetkey_broker.model import (
    Grant,
    Pattern,
    Permission,
    PermissionSet,
    Principal,
    ResourceId,
    TtlLimit,
)
from valetkey_broker.state.memory import Memory

K = TypeVar("K", bound=Hashable)

# A principal's name, or what stands around the `*` of a pattern.
_Who = str | Around
# Principal, exact attribute or None, container or None where it is a pattern.
_Place = tuple[_Who, tuple[str, str] | None, str | None]

_MOST_REMEMBERED = 32_768
_FOREVER = 2**31


class CompiledGrant:
    """A grant with what deciding needs of it made ready. Its methods are the rules; each looks at one thing only."""

    __slots__ = ("_containers", "_members", "_patterns", "_range", "expires", "grant", "max_ttl", "name")

    def __init__(self, grant: Grant) -> None:
        self.grant = grant
        self.name = grant.name
        self.expires = grant.expires_at.timestamp() if grant.expires_at else math.inf
        self.max_ttl = grant.max_ttl or _FOREVER
        self._members = frozenset(grant.permissions.members)
        self._containers = frozenset(pattern.text for pattern in grant.containers if pattern.exact)
        self._patterns = [pattern for pattern in grant.containers if not pattern.exact]
        self._range = _range(grant.source_ip) if grant.source_ip else None

    def whom(self) -> Collection[_Who]:
        """Returns the principals as they are looked up: a name, or what stands around the `*` of a pattern."""
        return {
            pattern.text if pattern.exact else (pattern.text.partition("*")[0], pattern.text.rpartition("*")[2])
            for pattern in self.grant.principals
        }

    def places(self) -> Iterable[_Place]:
        """Returns where the grant is found: by principal, an exact attribute if it needs one, and container."""
        attribute = next(((name, p.text) for name, p in self.grant.attributes if p.exact), None)
        containers: list[str | None] = [*self._containers, *([None] if self._patterns else [])]
        return itertools.product(self.whom(), (attribute,), containers)

    def names(self, principal: str) -> bool:
        """Tells whether one of the principals is meant."""
        return any(pattern.matches(principal) for pattern in self.grant.principals)

    def lacking(self, attributes: Mapping[str, str]) -> Sequence[tuple[str, Pattern]]:
        """Returns the attributes that are missing or have another value."""
        if not self.grant.attributes:
            return ()
        return [
            (name, pattern)
            for name, pattern in self.grant.attributes
            if name not in attributes or not pattern.matches(attributes[name])
        ]

    def admits_container(self, container: str) -> bool:
        """Tells whether the container is one of the grant's; a system container, such as `$web`, only by its name."""
        return container in self._containers or any(pattern.matches(container) for pattern in self._patterns)

    def admits_prefix(self, prefix: str) -> bool:
        """Tells whether a path, empty for the whole container, lies inside one of the prefixes, segment by segment."""
        prefixes = self.grant.prefixes
        return not prefixes or any(inside(prefix, allowed) for allowed in prefixes)

    def missing(self, permissions: PermissionSet) -> Sequence[Permission]:
        """Returns the permissions that the grant does not include."""
        return [permission for permission in permissions.members if permission not in self._members]

    def admits_address(self, source_ip: str) -> bool:
        """Tells whether a caller's own address or range, empty for none, lies inside the grant's."""
        if self._range is None or not source_ip:
            return True
        low, high = _range(source_ip)
        return self._range[0] <= low and high <= self._range[1]

    def seconds(self, wanted: int, now: float) -> int:
        """Returns for how long a token may live: never longer than the grant itself; 0 and less where it has ended."""
        return int(min(wanted, self.max_ttl, self.expires - now))

    def limit(self, seconds: int) -> TtlLimit:
        """Returns what in the grant limits a token to `seconds`."""
        return TtlLimit.GRANT_MAX_TTL if seconds == self.max_ttl else TtlLimit.GRANT_END


class Route:
    """The grants that may admit a request by one connector; what hangs on path, time and address is still open."""

    __slots__ = ("connector", "grants", "uid")

    def __init__(self, connector: str, uid: str, grants: Sequence[CompiledGrant]) -> None:
        self.connector = connector
        self.uid = uid
        self.grants = grants

    def best(self, prefix: str, ttl: int, source_ip: str, now: float) -> tuple[CompiledGrant, int] | None:
        """Returns the grant that lets a token live longest, of several the first by name, and the seconds."""
        best: CompiledGrant | None = None
        longest = 0
        for grant in self.grants:  # By name.
            seconds = grant.seconds(ttl, now)
            if seconds > longest and grant.admits_prefix(prefix) and grant.admits_address(source_ip):
                best, longest = grant, seconds
                if seconds == ttl:
                    break
        return (best, longest) if best is not None else None


class GrantIndex:
    """Finds the grants that can matter without looking at the others, and remembers decisions until a grant changes.

    A grant lies in one place for each of its principals and containers; patterns of principals are found by what
    stands before their first and after their last `*`, and grants with attributes by the first that is exact.
    """

    def __init__(self, memory: Memory, most_remembered: int = _MOST_REMEMBERED) -> None:
        self._most_remembered = most_remembered
        self._compiled: dict[str, CompiledGrant] = {}
        self._by_principal: dict[_Who, dict[str, CompiledGrant]] = {}
        self._places: dict[_Place, dict[str, CompiledGrant]] = {}
        self._patterns = AffixIndex()
        self._with_attributes = 0
        self._routes: dict[tuple[object, ...], Sequence[Route]] = {}
        memory.watch_grants(self._changed)

    def all(self) -> Iterable[CompiledGrant]:
        """Returns every grant, in no order."""
        return self._compiled.values()

    def naming(self, principal: str) -> Sequence[CompiledGrant]:
        """Returns the grants that name a principal, by their name, whatever they say of attributes."""
        found: dict[str, CompiledGrant] = {}
        for who in self._who(principal):
            found.update((name, grant) for name, grant in self._by_principal[who].items() if grant.names(principal))
        return [found[name] for name in sorted(found)]

    def meaning(self, principal: Principal, container: str) -> Sequence[CompiledGrant]:
        """Returns the grants that name a principal with its attributes, and a container, by their name."""
        found: dict[str, CompiledGrant] = {}
        for who in self._who(principal.name):
            for attribute in (None, *principal.attributes.items()):
                for place in ((who, attribute, container), (who, attribute, None)):
                    found.update(self._places.get(place, {}))
        return [
            found[name]
            for name in sorted(found)
            if found[name].names(principal.name)
            and found[name].admits_container(container)
            and not found[name].lacking(principal.attributes)
        ]

    def routes(self, principal: Principal, resource: ResourceId, permissions: PermissionSet) -> Sequence[Route]:
        """Returns the ways into the container of a resource, by connector; its path is for `Route.best` to look at."""
        attributes: object = None
        if self._with_attributes and principal.attributes:
            attributes = tuple(sorted(principal.attributes.items()))
        # All that shapes the answer is in the key; whether connectors are still there is looked up each time.
        # The path is not: of a pipeline's thousand blobs each would push out what others ask for all day.
        key = (principal.name, attributes, resource.key, permissions.sp)
        known = self._routes.get(key)
        if known is None:
            known = self._found(principal, resource.key, permissions)
            if known:  # What is refused is not remembered: refusals would push out what is allowed.
                if len(self._routes) >= self._most_remembered:
                    self._routes.clear()
                self._routes[key] = known
        return known

    def forget(self) -> None:
        """Drops what was remembered of decisions."""
        self._routes.clear()

    def _who(self, principal: str) -> Iterable[_Who]:
        if principal in self._by_principal:
            yield principal
        for around in self._patterns.of(principal):
            if around in self._by_principal:
                yield around

    def _found(self, principal: Principal, container: str, permissions: PermissionSet) -> Sequence[Route]:
        by_connector: dict[tuple[str, str], list[CompiledGrant]] = {}
        for grant in self.meaning(principal, container):
            if not grant.missing(permissions):
                for granted in grant.grant.connectors:
                    by_connector.setdefault((granted.name, granted.uid), []).append(grant)
        return [Route(name, uid, by_connector[name, uid]) for name, uid in sorted(by_connector)]

    def _changed(self, before: Grant | None, after: Grant | None) -> None:
        if before is not None:
            self._remove(self._compiled.pop(before.name))
        if after is not None:
            self._compiled[after.name] = compiled = CompiledGrant(after)
            self._add(compiled)
        self.forget()

    def _add(self, compiled: CompiledGrant) -> None:
        self._with_attributes += bool(compiled.grant.attributes)
        for who in compiled.whom():
            self._by_principal.setdefault(who, {})[compiled.name] = compiled
            if not isinstance(who, str):
                self._patterns.add(who)
        for place in compiled.places():
            self._places.setdefault(place, {})[compiled.name] = compiled

    def _remove(self, compiled: CompiledGrant) -> None:
        self._with_attributes -= bool(compiled.grant.attributes)
        for who in compiled.whom():
            _drop(self._by_principal, who, compiled.name)
            if not isinstance(who, str):
                self._patterns.remove(who)
        for place in compiled.places():
            _drop(self._places, place, compiled.name)


def inside(path: str, prefix: str) -> bool:
    """Tells whether `path` is `prefix` or below it: `models` holds `models/a`, never `models-evil`."""
    return path == prefix or path.startswith(f"{prefix}/")


def _drop(buckets: dict[K, dict[str, CompiledGrant]], key: K, name: str) -> None:
    bucket = buckets.get(key)
    if bucket is not None:
        bucket.pop(name, None)
        if not bucket:
            del buckets[key]


def _range(source_ip: str) -> tuple[int, int]:
    low, _, high = source_ip.partition("-")
    return int(ipaddress.IPv4Address(low)), int(ipaddress.IPv4Address(high or low))
