"""Proves that a connector works: logs in, lists, gets a delegation key."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from valetkey_broker.errors import BrokerError, resource_ambiguous, resource_not_reached
from valetkey_broker.model import Connector, Container, Credential, ResourceId
from valetkey_broker.ports import Clock, Cloud

_KEY_SECONDS = 3600.0
_SKEW_SECONDS = 900.0
# So many containers are named in an error; more would bury it.
_NAMED = 5


async def verify(cloud: Cloud, clock: Clock, connector: Connector, credential: Credential) -> Sequence[Container]:
    """Returns the containers that the connector can give tokens for.

    Raises BrokerError of the first step that failed; see ports.Cloud. An account that lists but gives no
    delegation key is left out, unless that holds for all of them.
    """
    await cloud.log_in(connector, credential)
    containers = serving(connector, await cloud.find_containers(connector, credential), name_others=True)
    accounts = sorted({container.account for container in containers})
    if not accounts and connector.azure.storage_account:
        accounts = [connector.azure.storage_account]  # An empty account is still worth a key.
    now = clock()
    results = await asyncio.gather(
        *(
            cloud.delegation_key(connector, credential, account, starts=now - _SKEW_SECONDS, expires=now + _KEY_SECONDS)
            for account in accounts
        ),
        return_exceptions=True,
    )
    failures = {
        account: result for account, result in zip(accounts, results, strict=True) if isinstance(result, BaseException)
    }
    unexpected = [error for error in failures.values() if not isinstance(error, BrokerError)]
    if unexpected or (failures and len(failures) == len(accounts)):
        raise (unexpected or list(failures.values()))[0]
    return [container for container in containers if container.account not in failures]


def serving(connector: Connector, containers: Sequence[Container], *, name_others: bool = False) -> Sequence[Container]:
    """Returns those of `containers` that the connector serves: all, or for a single-instance connector its own.

    Raises RESOURCE_NOT_FOUND where that one is missing, RESOURCE_AMBIGUOUS where several accounts have it. With
    `name_others`, which is for operators only, the former says what there is instead.
    """
    wanted = connector.resource
    if wanted is None:
        return containers
    found = [c for c in containers if c.name == wanted.container and wanted.account in (None, c.account)]
    if not found:
        near = ", ".join(c.resource_id for c in containers[:_NAMED]) + (", …" if len(containers) > _NAMED else "")
        instead = f"; it reaches {near or 'no container'}" if name_others else ""
        raise resource_not_reached(connector.name, wanted, instead)
    if len(found) > 1:
        raise resource_ambiguous(wanted, found)
    return found


def pinned(connector: Connector, container: Container) -> Connector:
    """Returns a single-instance connector with the account of its container written down."""
    return replace(connector, resource=ResourceId(container.name, account=container.account))
