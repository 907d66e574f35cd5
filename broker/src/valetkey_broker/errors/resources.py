"""Errors about what a caller asks for: what no grant allows, what is not there, what cannot be signed."""

from collections.abc import Iterable
from shlex import quote

from valetkey_broker.errors.base import BrokerError, Reason
from valetkey_broker.model import Container, Permission, Principal, ResourceId, Role

_MOST_CANDIDATES = 10


def resource_denied(
    principal: Principal,
    resource: ResourceId,
    connector: str = "",
    permissions: Iterable[Permission] = (),
    *,
    no_such_connector: bool = False,
) -> BrokerError:
    """No grant lets the caller use that: in the same words whether or not the resource exists.

    Who may make grants is told how. `no_such_connector` is only for whoever may list all connectors.
    """
    if no_such_connector:
        message = (
            f"no connector is named {connector}, so no grant lets {principal.name} use {resource.as_asked()} with it; "
            "`valetkey service-connector list` shows those that there are"
        )
        return BrokerError(Reason.RESOURCE_DENIED, message, _metadata(resource.as_asked(), connector))
    by = f" with the connector {connector}" if connector else ""
    message = (
        f"no grant lets {principal.name} use {resource.as_asked()}{by}; `valetkey grant explain` shows what would "
        "work, `valetkey service-connector list-resources` what there is for it"
    )
    if Role.ADMIN in principal.roles:
        words = ",".join(permission.name.lower() for permission in permissions) or "read,list"
        message += (
            f". No role stands in for a grant, but you may make one: valetkey grant create NAME --principal "
            f"{quote(principal.name)} --connector {connector or 'CONNECTOR'} --container {quote(resource.key)} "
            f"{f'--prefix {quote(resource.prefix)} ' if resource.prefix else ''}--permissions {words}"
        )
    return BrokerError(Reason.RESOURCE_DENIED, message, _metadata(resource.as_asked(), connector))


def permissions_denied(
    principal: Principal, resource: ResourceId, missing: Iterable[Permission], connector: str = ""
) -> BrokerError:
    """Grants let the caller use the resource, but not with the permissions that are `missing`."""
    names = ",".join(permission.name.lower() for permission in missing)
    more = "give more with `valetkey grant update`" if Role.ADMIN in principal.roles else "an admin for more"
    message = f"no grant lets {principal.name} {names} on {resource}; ask for less, or {more}"
    return BrokerError(Reason.RESOURCE_DENIED, message, {**_metadata(str(resource), connector), "missing": names})


def address_denied(principal: Principal, resource: ResourceId, source_ip: str, connector: str = "") -> BrokerError:
    """Grants let the caller use the resource, but not for tokens that work from `source_ip`."""
    message = f"the grants of {principal.name} on {resource} are not for the addresses {source_ip}"
    return BrokerError(Reason.RESOURCE_DENIED, message, {**_metadata(str(resource), connector), "source_ip": source_ip})


def host_unknown(resource: ResourceId, there: Iterable[tuple[str, str]]) -> BrokerError:
    """Grants let the caller use that container, but the host in its id is not one of the clouds it is in.

    `there` are these clouds and the account's blob endpoint in each.
    """
    expected = " or ".join(f"{endpoint} (the cloud {cloud})" for cloud, endpoint in there)
    message = (
        f"no connector for {resource} is in a cloud whose host is {resource.endpoint}; expected {expected}, or "
        f"{resource} alone"
    )
    return BrokerError(Reason.RESOURCE_NOT_FOUND, message, {"resource": resource.as_asked()})


def access_revoked(resource: ResourceId, revocation: str, by: str, reason: str) -> BrokerError:
    """A grant would allow it, and an operator revoked it; `by` is who, and the one to ask."""
    why = f": {reason}" if reason else ""
    message = f"access to {resource} was revoked by {by}{why}. Ask them; they know it as revocation {revocation}"
    metadata = {"resource": str(resource), "revocation": revocation, "ask": by}
    return BrokerError(Reason.ACCESS_REVOKED, message, metadata)


def connector_denied(principal: Principal, connector: str) -> BrokerError:
    """No grant lets the caller use that connector: in the same words whether or not it exists."""
    message = (
        f"no grant lets {principal.name} use a connector named {connector}; "
        "`valetkey service-connector list-resources` shows what it may use"
    )
    return BrokerError(Reason.RESOURCE_DENIED, message, {"connector": connector})


def resource_not_found(resource: str, accounts_unknown: int = 0) -> BrokerError:
    """No container that any connector at hand reaches has that id; so many accounts could not be looked through."""
    where = (
        f" in the accounts that could be looked through ({accounts_unknown} could not; the container's full URL asks "
        "its account alone)"
        if accounts_unknown
        else ""
    )
    message = (
        f"no container answers to {resource}{where}; `valetkey service-connector list-resources` shows those that do"
    )
    return BrokerError(Reason.RESOURCE_NOT_FOUND, message, {"resource": resource})


def resource_not_reached(connector: str, resource: ResourceId, instead: str = "") -> BrokerError:
    """The connector does not reach its own resource; `instead` goes on with what it reaches, for operators only."""
    message = f"connector {connector} does not reach {resource}{instead}"
    return BrokerError(Reason.RESOURCE_NOT_FOUND, message, {"resource": str(resource), "connector": connector})


def resource_ambiguous(resource: ResourceId, found: Iterable[Container]) -> BrokerError:
    """A short id names containers in several accounts; the first ones are listed."""
    urls = sorted(container.url for container in found)
    shown = " ".join(urls[:_MOST_CANDIDATES])
    more = f" and {len(urls) - _MOST_CANDIDATES} more" if len(urls) > _MOST_CANDIDATES else ""
    message = f"{resource} names containers in several accounts; give the full URL, one of: {shown}{more}"
    return BrokerError(Reason.RESOURCE_AMBIGUOUS, message, {"resource": str(resource), "candidates": shown})


def directory_unsupported(resource: ResourceId, account: str) -> BrokerError:
    """That account has no directories, and nothing wider is given in place of one."""
    message = (
        f"a token for the directory {resource} needs an account with hierarchical namespace, which {account} is not; "
        f"nothing wider is given in its place. Ask for single blobs, such as {resource}NAME (`valetkey token issue` "
        f"takes several --resource), or for {resource.whole}, if a grant allows all of it"
    )
    return _unsupported(message, resource, "flat-account", account)


def list_of_blob(resource: ResourceId) -> BrokerError:
    """A single blob cannot be listed."""
    message = (
        f"list is a permission on containers and directories, and {resource} is one blob: ask without list, for the "
        f"directory {resource}/ with a slash at its end, or for {resource.whole}"
    )
    return _unsupported(message, resource, "list-of-blob")


def permissions_of_paths(resource: ResourceId, permissions: Iterable[Permission]) -> BrokerError:
    """Permissions that are given for directories and blobs only are asked for a whole container."""
    names = ",".join(permission.name.lower() for permission in permissions)
    message = (
        f"{names} is given for a directory or a blob, on accounts with hierarchical namespace, and {resource} is a "
        f"container: ask for {resource}/PATH/, or without"
    )
    return _unsupported(message, resource, "container")


def permissions_of_hierarchy(resource: ResourceId, permissions: Iterable[Permission], account: str) -> BrokerError:
    """Permissions that need a hierarchical namespace are asked on an account without."""
    names = ",".join(permission.name.lower() for permission in permissions)
    message = (
        f"{names} needs an account with hierarchical namespace, which {account} is not: ask without, and move a blob "
        "by copying it and deleting the old one"
    )
    return _unsupported(message, resource, "flat-account", account)


def _unsupported(message: str, resource: ResourceId, cause: str, account: str = "") -> BrokerError:
    metadata = {"resource": str(resource), "cause": cause, **({"account": account} if account else {})}
    return BrokerError(Reason.SCOPE_UNSUPPORTED, message, metadata)


def _metadata(resource: str, connector: str) -> dict[str, str]:
    return {"resource": resource, **({"connector": connector} if connector else {})}
