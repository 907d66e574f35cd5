"""Chooses the connector and the account that serve a resource."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from valetkey_broker.errors import BrokerError, resource_ambiguous, resource_denied, resource_not_found
from valetkey_broker.issuing.directory import ContainerDirectory
from valetkey_broker.model import CloudProfile, Connector, Container, Principal, ResourceId

Choice = tuple[Connector, CloudProfile, Container]


class ConnectorChooser:
    """Finds the one container that a resource id means among the connectors a caller may use for it. Never guesses."""

    def __init__(self, profiles: Mapping[str, CloudProfile], directory: ContainerDirectory) -> None:
        self._profiles = profiles
        self._directory = directory

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
            containers = _own(own, profile, resource)
        else:
            containers = self._directory.known(connector, resource.container)
        if len(containers) != 1 or not _matches(resource, containers[0], profile):
            return None
        return connector, profile, containers[0]

    async def choose(self, principal: Principal, connectors: Sequence[Connector], resource: ResourceId) -> Choice:
        """Returns the choice; of two connectors to the same container the single-instance one, then by name.

        Raises RESOURCE_DENIED or RESOURCE_NOT_FOUND where there is none, RESOURCE_AMBIGUOUS where several accounts
        answer, or the cloud's error where it is the reason why nothing was found.
        """
        found: list[Choice] = []
        failure: BrokerError | None = None
        for connector in connectors:
            profile = self._profiles.get(connector.azure.cloud)
            if profile is None:
                continue
            try:
                containers = await self._containers(connector, profile, resource)
            except BrokerError as error:
                failure = failure or error
                continue
            found += [
                (connector, profile, container) for container in containers if _matches(resource, container, profile)
            ]
        if len(found) == 1:
            return found[0]
        if not found:
            raise failure or self._refusal(principal, connectors, resource)
        distinct = {container.url: container for _, _, container in found}
        if len(distinct) > 1:
            raise resource_ambiguous(resource, list(distinct.values()))
        return min(found, key=lambda choice: (choice[0].resource is None, choice[0].name))

    async def _containers(
        self, connector: Connector, profile: CloudProfile, resource: ResourceId
    ) -> Sequence[Container]:
        own = connector.resource
        if own is None:
            return await self._directory.find(connector, resource.container)
        return _own(own, profile, resource)

    def _refusal(self, principal: Principal, connectors: Sequence[Connector], resource: ResourceId) -> BrokerError:
        if any(connector.resource is None for connector in connectors):
            return resource_not_found(resource.as_asked())
        return resource_denied(principal, resource)  # The same words as for those who have no grant.


def _own(own: ResourceId, profile: CloudProfile, resource: ResourceId) -> Sequence[Container]:
    """Returns the container of a single-instance connector where it is the one that is asked for."""
    if own.container != resource.container or own.account is None:
        return ()
    return (_container(profile, own.account, own.container),)


@lru_cache(maxsize=4096)  # pure, and a connector's own container is always the same
def _container(profile: CloudProfile, account: str, name: str) -> Container:
    return Container(account, name, profile.container_url(account, name))


def _matches(resource: ResourceId, container: Container, profile: CloudProfile) -> bool:
    return resource.endpoint is None or resource.endpoint == profile.blob_url(container.account)
