"""Finds what would be allowed in place of what is not."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from valetkey_broker.authz.compiled_grants import CompiledGrant
from valetkey_broker.authz.policy import Policy
from valetkey_broker.authz.scope_rules import check_scope
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import (
    OF_HIERARCHY,
    Connector,
    Grant,
    Pattern,
    Permission,
    PermissionSet,
    Principal,
    ResourceId,
)
from valetkey_broker.model.revocation import Revocation


@dataclass(frozen=True, slots=True)
class Question:
    """A request that might be made. `ttl` is in seconds, None for the default; `source_ip` is canonical, or empty."""

    principal: Principal
    resource: ResourceId
    permissions: PermissionSet
    connector: str = ""
    ttl: int | None = None
    source_ip: str = ""


@dataclass(frozen=True, slots=True)
class Nearest:
    """A request that would be allowed: to somebody with these attributes as well, for these addresses only."""

    grant: str
    connector: str
    resource: ResourceId
    permissions: PermissionSet
    attributes: Sequence[tuple[str, Pattern]] = ()
    source_ip: str = ""

    def __str__(self) -> str:
        names = ", ".join(permission.name.lower() for permission in self.permissions.members)
        addresses = f" for the addresses {self.source_ip}" if self.source_ip else ""
        attributes = " and ".join(f"{name}={pattern.text}" for name, pattern in self.attributes)
        who = f", to somebody with {attributes}" if attributes else ""
        return (
            f"{names} on {self.resource} with the connector {self.connector}{addresses}, by the grant {self.grant}{who}"
        )


class Nearby:
    """Looks for requests near to one that is not allowed. Asks nobody."""

    def __init__(
        self,
        policy: Policy,
        hierarchical: Callable[[Connector, str], bool | None],
        covering: Callable[[Principal, Grant, Connector, ResourceId], Revocation | None],
    ) -> None:
        """`hierarchical` tells of a connector's account whether its namespace is hierarchical, None for not known.

        `covering` gives the revocation that takes such a token back.
        """
        self._policy = policy
        self._covering = covering
        self._hierarchical = hierarchical

    def namespace(self, resource: ResourceId, connector: Connector) -> tuple[str, bool | None]:
        """Returns the account that is meant, empty where that is open, and whether its namespace is hierarchical."""
        own = connector.resource.account if connector.resource is not None else None
        account = resource.account or own or connector.azure.storage_account
        return account, self._hierarchical(connector.serving(resource.type), account) if account else None

    def of(self, grant: CompiledGrant, question: Question, now: float) -> Nearest | None:
        """Returns the nearest request that the grant allows at `now` (Unix seconds); None where there is none."""
        if has_ended(grant, now):
            return None
        attributes = grant.lacking(question.principal.attributes)
        source_ip = "" if grant.admits_address(question.source_ip) else grant.grant.source_ip
        options = [
            Nearest(grant.name, connector.name, resource, permissions, attributes, source_ip)
            for connector in self._policy.live_connectors(grant)
            for resource in _resources(grant, connector, question.resource)
            if self._policy.is_at(connector, resource)
            and self._covering(question.principal, grant.grant, connector, resource) is None
            and (permissions := self._permissions(grant, question, resource, connector)) is not None
        ]
        # The same connector, container and path, if that can be.
        return min(
            options,
            key=lambda o: (
                o.connector != question.connector,
                o.resource.key != question.resource.key,
                o.resource.prefix != question.resource.prefix,
                o.connector,
            ),
            default=None,
        )

    def _permissions(
        self, grant: CompiledGrant, question: Question, resource: ResourceId, connector: Connector
    ) -> PermissionSet | None:
        """Returns the permissions nearest to those asked for that a grant has and `resource` can have, if any."""
        account, hierarchical = self.namespace(resource, connector)
        without = set(grant.missing(question.permissions))
        if not resource.prefix or hierarchical is False:
            without.update(OF_HIERARCHY)
        if resource.prefix and not resource.directory:
            without.add(Permission.LIST)
        for members in (question.permissions.members, grant.grant.permissions.members):
            if left := [permission for permission in members if permission not in without]:
                permissions = PermissionSet(left)
                try:
                    check_scope(resource, permissions, account, hierarchical=hierarchical)
                except BrokerError:
                    return None
                return permissions
        return None


def has_ended(grant: CompiledGrant, now: float) -> bool:
    """Tells whether the grant allows nothing any more at `now`, in Unix seconds."""
    return grant.seconds(1, now) < 1


def _resources(grant: CompiledGrant, connector: Connector, asked: ResourceId) -> Iterator[ResourceId]:
    """Gives the resources that a grant gives by a connector, the nearest first; none that only a pattern names."""
    if connector.resource is not None:
        one = connector.resource
    elif grant.admits_container(asked.key) and asked.type in connector.resource_types:
        one = asked
    else:
        exact = (ResourceId.parse(pattern.text) for pattern in grant.grant.containers if pattern.exact)
        served = next((each for each in exact if each.type in connector.resource_types), None)
        if served is None:
            return
        one = served
    if not grant.admits_container(one.key):
        return
    if asked.prefix and grant.admits_prefix(asked.prefix) and one.key == asked.key:
        yield replace(asked, account=None, endpoint=None)
    # A grant with paths never gives the whole container.
    if grant.grant.prefixes:
        yield replace(one.whole, prefix=grant.grant.prefixes[0], directory=True)
    else:
        yield one.whole
