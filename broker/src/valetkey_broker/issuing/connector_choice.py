"""Chooses the connector and the account that serve a resource."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import lru_cache

from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.connectors.reach_result import AccountError, Reach, not_found, worst
from valetkey_broker.errors import BrokerError, resource_ambiguous, resource_denied
from valetkey_broker.model import RESOURCE_TYPES, CloudProfile, Connector, Container, Principal, ResourceId

Choice = tuple[Connector, CloudProfile, Container]


class ConnectorChooser:
    """Finds the one container that a resource id means among the connectors a caller may use for it. Never guesses."""

    def __init__(self, profiles: Mapping[str, CloudProfile], reach: ReachCache) -> None:
        self._profiles = profiles
        self._reach = reach

        @lru_cache(maxsize=4096)  # a connector's own container is always the same
        def container(cloud: str, account: str, name: str, resource_type: str) -> Container:
            return Container.of(profiles[cloud], account, name, resource_type)

        self._container = container

    def known(self, connectors: Sequence[Connector], resource: ResourceId) -> Choice | None:
        """Returns the choice where memory alone makes it: one connector, one container. Otherwise ask `choose`.

        The hot path: no waiting, no I/O.
        """
        if len(connectors) != 1:
            return None
        connector = connectors[0]
        profile = self._profiles.get(connector.azure.cloud)
        if profile is None:
            return None
        own = connector.resource
        if own is not None:
            containers = self._own(own, connector.azure.cloud, resource)
        else:
            containers = self._reach.known(connector.serving(resource.type), resource.container, resource.account or "")
        if len(containers) != 1 or not _matches(resource, containers[0], profile):
            return None
        return connector, profile, containers[0]

    async def choose(self, principal: Principal, connectors: Sequence[Connector], resource: ResourceId) -> Choice:
        """Returns the choice; of two connectors to the same container the single-instance one, then by name.

        Raises RESOURCE_DENIED or RESOURCE_NOT_FOUND where there is none, RESOURCE_AMBIGUOUS where several accounts
        answer, or the cloud's error where it may be the reason why nothing was found.
        """
        served = [(each, profile) for each in connectors if (profile := self._profile(each, resource)) is not None]
        reaches = await asyncio.gather(*(self._found(each, resource) for each, _ in served))
        found: list[Choice] = []
        failed: list[AccountError] = []
        unknown: list[AccountError] = []
        for (connector, profile), reach in zip(served, reaches, strict=True):
            if isinstance(reach, BrokerError):
                failed.append(AccountError("", reach))
                continue
            unknown += reach.errors
            found += [(connector, profile, each) for each in reach.containers if _matches(resource, each, profile)]
        if len(found) == 1:
            return found[0]
        if not found:
            raise worst(failed) if failed else self._denial(principal, connectors, resource, unknown)
        distinct = {container.url: container for _, _, container in found}
        if len(distinct) > 1:
            raise resource_ambiguous(resource, list(distinct.values()))
        return min(found, key=lambda choice: (choice[0].resource is None, choice[0].name))

    def _profile(self, connector: Connector, resource: ResourceId) -> CloudProfile | None:
        """Returns the cloud of a connector; None where its settings are gone, or the resource is of another cloud."""
        profile = self._profiles.get(connector.azure.cloud)
        if profile is None or resource.endpoint is None or resource.account is None:
            return profile
        return (
            profile if resource.endpoint == RESOURCE_TYPES[resource.type].endpoint(profile, resource.account) else None
        )

    async def _found(self, connector: Connector, resource: ResourceId) -> Reach | BrokerError:
        own = connector.resource
        if own is not None:
            return Reach(self._own(own, connector.azure.cloud, resource))
        try:
            return await self._reach.find(connector.serving(resource.type), resource.container, resource.account or "")
        except BrokerError as error:
            return error

    def _own(self, own: ResourceId, cloud: str, resource: ResourceId) -> Sequence[Container]:
        """Returns the container of a single-instance connector where it is the one that is asked for."""
        if own.key != resource.key or own.account is None:
            return ()
        return (self._container(cloud, own.account, own.container, own.type),)

    def _denial(
        self,
        principal: Principal,
        connectors: Sequence[Connector],
        resource: ResourceId,
        unknown: Sequence[AccountError],
    ) -> BrokerError:
        if any(connector.resource is None for connector in connectors):
            return not_found(resource.as_asked(), unknown)
        return resource_denied(principal, resource)  # The same words as for those who have no grant.


def _matches(resource: ResourceId, container: Container, profile: CloudProfile) -> bool:
    if resource.endpoint is None:
        return True
    return resource.endpoint == RESOURCE_TYPES[resource.type].endpoint(profile, container.account)
