"""Containers as tests of the cloud need them: all that a connector reaches, and the scope of one."""

from valetkey_broker.model import CloudProfile, Connector, Container, Credential, Scope
from valetkey_broker.ports import Cloud


async def all_containers(cloud: Cloud, connector: Connector, credential: Credential) -> list[Container]:
    """Returns the containers of all accounts. Raises the first error of any."""
    search = await cloud.find_accounts(connector, credential)
    if search.errors:
        raise search.errors[0]
    return [
        container
        for account in search.accounts
        for container in await cloud.list_containers(connector, credential, account)
    ]


def container_scope(profile: CloudProfile, account: str, name: str) -> Scope:
    """Returns the scope of a whole container."""
    return Scope.of_container(Container(account, name, profile.container_url(account, name)))
