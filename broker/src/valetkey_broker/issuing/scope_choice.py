"""Decides what a token is cut to: exactly what was asked for, or a refusal; never anything wider."""

from functools import lru_cache

from valetkey_broker.authz.scope_rules import check_scope, hangs_on_account
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.issuing.signing_keys import SigningKeys
from valetkey_broker.model import Connector, Container, PermissionSet, ResourceId, Scope


class Scopes:
    """Cuts tokens to a container, to one blob in it or, where the account has such, to a directory."""

    def __init__(self, reach: ReachCache, keys: SigningKeys) -> None:
        self._reach = reach
        self._keys = keys

    def known(
        self, connector: Connector, container: Container, resource: ResourceId, permissions: PermissionSet
    ) -> Scope | None:
        """Returns the scope of a token for `resource`, which lies in `container`; None where the account must be asked.

        The hot path: no waiting, no I/O. Raises SCOPE_UNSUPPORTED for what cannot be signed there.
        """
        if not resource.prefix and not permissions.needs_hierarchy:
            return _whole(container)
        hierarchical = None
        if hangs_on_account(resource, permissions):
            hierarchical = self._reach.hierarchical(connector.serving(resource.type), container.account)
        check_scope(resource, permissions, container.account, hierarchical=hierarchical)
        if hierarchical is None and hangs_on_account(resource, permissions):
            return None
        return _inside(container, resource)

    async def find(
        self,
        connector: Connector,
        container: Container,
        resource: ResourceId,
        permissions: PermissionSet,
        until: float,
    ) -> Scope:
        """Returns the scope as `known` does, after asking the account whether it has a hierarchical namespace.

        `until` is how long the token shall live, in Unix seconds. Raises what `known` raises, or BrokerError of
        ports.Cloud.
        """
        key = await self._keys.get(connector, container.account, until)
        hierarchical = await self._reach.ask_hierarchical(connector.serving(resource.type), container, key)
        check_scope(resource, permissions, container.account, hierarchical=hierarchical)
        return _inside(container, resource)


def _inside(container: Container, resource: ResourceId) -> Scope:
    return Scope.of_path(container, resource.prefix, directory=resource.directory)


@lru_cache(maxsize=4096)  # pure, and callers ask for the same few containers all day
def _whole(container: Container) -> Scope:
    return Scope.of_container(container)
