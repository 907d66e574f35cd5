"""Refuses changes by which a connector, and with it the grants bound to it, would lead elsewhere, but to admins.

A grant names a connector and containers, and not the account: that is the connector's. Whoever could point a connector
that grants are bound to elsewhere could hand others what no admin gave them, or have them write where no admin sent
them.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from valetkey_broker.errors import connector_bound
from valetkey_broker.model import AzureConfig, Connector, Grant, Principal, Role, Rotation
from valetkey_broker.state.memory import Memory

RolesNow = Callable[[str, str], frozenset[Role]]
"""Gives the roles that a principal has now, by its name and the uid of its API key, if it has one."""

# What narrows down where a connector looks: setting one of them can only take something away.
_NARROWING = ("subscription_id", "resource_group")

# What a grant means is for those to say who make grants.
_MAY_REDIRECT = frozenset({Role.ADMIN})


def may_redirect(caller: Principal) -> bool:
    """Tells whether `caller` may have grants mean something else."""
    return caller.has_any(_MAY_REDIRECT)


def still_may_redirect(rotation: Rotation, roles_now: RolesNow) -> bool:
    """Tells whether who began a rotation could have grants mean something else then, and still may."""
    now = roles_now(rotation.started_by, rotation.started_by_uid)
    return rotation.may_redirect and not _MAY_REDIRECT.isdisjoint(now)


def check_redirection(memory: Memory, before: Connector, after: Connector, now: float, *, may_redirect: bool) -> None:
    """Raises ROLE_REQUIRED where a change would have grants mean something else, unless who asked for it may do that.

    `may_redirect` is what the function of that name said of them. `now` is in Unix seconds.
    """
    if may_redirect or not leads_elsewhere(before, after):
        return
    bound = bound_grants(before, memory.grants.values(), now)
    if bound:
        raise connector_bound(before.name, bound)


def leads_elsewhere(before: Connector, after: Connector) -> bool:
    """Tells whether a connector may reach something by a change that it did not reach before.

    The same account, or less of the same principal's, is not elsewhere. Which accounts a principal sees is the cloud's:
    where no account is named, another principal leads elsewhere. So does naming an account where none was: nothing says
    that it is one which the connector reached, and another credential for it would then pass for no more than that.
    """
    if before.azure.cloud != after.azure.cloud or not set(after.resource_types) <= set(before.resource_types):
        return True
    if before.resource is not None and (after.resource is None or after.resource.key != before.resource.key):
        return True
    account = _account(before)
    if account:
        return _account(after) != account
    return (
        bool(_account(after))
        or before.auth_method != after.auth_method
        or _principal(before.azure) != _principal(after.azure)
        or any(getattr(before.azure, name) not in ("", getattr(after.azure, name)) for name in _NARROWING)
    )


def bound_grants(connector: Connector, grants: Iterable[Grant], now: float) -> list[str]:
    """Returns the names of the grants that are bound to a connector and have not ended at `now` (Unix seconds)."""
    return sorted(
        grant.name
        for grant in grants
        if any(granted.uid == connector.uid for granted in grant.connectors)
        and (grant.expires_at is None or grant.expires_at.timestamp() > now)
    )


def _account(connector: Connector) -> str:
    own = connector.resource
    return connector.azure.storage_account or (own.account if own is not None else None) or ""


def _principal(azure: AzureConfig) -> AzureConfig:
    """Returns who logs in: the configuration without what narrows it down."""
    return replace(azure, storage_account="", **dict.fromkeys(_NARROWING, ""))
