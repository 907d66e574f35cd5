"""What goes along with something that is deleted or changed, as far as the caller may see it."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from valetkey.client import Client
from valetkey.errors import NotFoundError, ValetKeyError
from valetkey.ledger_values import Lease
from valetkey.times import utc
from valetkey.values import Connector

_MOST_LEASES = 500
_SHOWN = 5
Found = TypeVar("Found")


def of_connector(client: Client, name: str) -> str:
    """Returns what dies with a connector. Raises NotFoundError where there is none."""
    connector = _there(lambda: client.get_connector(name))
    grants = _seen(client.list_grants)
    uid = connector.uid if connector else ""
    named = [grant.name for grant in grants or [] if uid in {found.uid for found in grant.connectors}]
    leases = _seen(lambda: client.list_leases(connector=name, limit=_MOST_LEASES))
    which = f": {_names(named)}" if named else ""
    grants_end = "no grant names it" if grants is not None and not named else f"grants that name it are void{which}"
    shared = connector.authentication_secret if connector else ""
    secret = f"the named secret {shared} stays" if shared else "its secret goes"
    return f"{secret}, its streams of tokens end; {grants_end}; {_outliving(leases)}"


def of_change(client: Client, connector: Connector) -> str:
    """Returns what comes to mean something else where a connector leads elsewhere; empty where nothing does."""
    grants = _seen(client.list_grants)
    bound = [grant for grant in grants or [] if connector.uid in {found.uid for found in grant.connectors}]
    if grants is not None and not bound:
        return ""
    each = [f"{grant.name} ({_names(grant.principals)}: {_names(grant.containers)})" for grant in bound]
    which = f": {_names(each)}" if each else ""
    leases = _seen(lambda: client.list_leases(connector=connector.name, limit=_MOST_LEASES))
    return f"grants that are bound to it stay, and mean what it leads to from then on{which}; {_outliving(leases)}"


def of_grant(client: Client, name: str) -> str:
    """Returns what dies with a grant. Raises NotFoundError where there is none."""
    grant = _there(lambda: client.get_grant(name))
    leases = _seen(lambda: client.list_leases(limit=_MOST_LEASES))
    live = None if leases is None else [lease for lease in leases if lease.grant == name]
    who = f" of {_names(grant.principals)}" if grant else ""
    return f"streams of tokens{who} that live by it end, unless another grant allows them; {_outliving(live)}"


def of_api_key(client: Client, name: str) -> str:
    """Returns what dies with an API key. Raises NotFoundError where there is none."""
    principal = f"key:{name}"
    keys = _seen(client.list_api_keys)
    if keys is not None and name not in [key.name for key in keys]:
        raise NotFoundError(f"there is no API key {name}; `valetkey api-key list` shows which there are")
    leases = _seen(lambda: client.list_leases(principal=principal, limit=_MOST_LEASES))
    named = [grant.name for grant in _seen(client.list_grants) or [] if principal in grant.principals]
    stay = (
        f"; grants that name {principal} stay, and count for a new key of this name: {_names(named)}" if named else ""
    )
    return f"calls with it are refused and its streams of tokens end; {_outliving(leases)}{stay}"


def of_secret(client: Client, name: str) -> str:
    """Returns what goes with a named secret. Raises NotFoundError where there is none."""
    _there(lambda: client.get_secret(name))
    return "every version of its value goes, for good"


def _there(ask: Callable[[], Found]) -> Found | None:
    """Returns what is to go, None where the caller may not see it. Raises NotFoundError: nobody is asked in vain."""
    try:
        return ask()
    except NotFoundError:
        raise
    except ValetKeyError:
        return None


def _seen(ask: Callable[[], Found]) -> Found | None:
    """Returns an answer, None where the caller may not see it, or it cannot be had: no reason to keep what shall go."""
    try:
        return ask()
    except ValetKeyError:
        return None


def _outliving(leases: list[Lease] | None) -> str:
    if leases is None:
        return "tokens that are out live on until they expire"
    if not leases:
        return "no tokens are out"
    count = f"{len(leases)} or more" if len(leases) >= _MOST_LEASES else str(len(leases))
    last = utc(max(lease.expire_time for lease in leases))
    return (
        f"{count} {'token that is out lives' if count == '1' else 'tokens that are out live'} on, the last until {last}"
    )


def _names(found: Iterable[str]) -> str:
    names = list(found)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


REMOVED = (
    "brokers that reach Vault honour it for 5 s at most; one that is cut off from Vault may do so until its "
    "vault.max_stale_seconds are over"
)
"""What to tell whoever has removed something: how soon that counts everywhere."""
