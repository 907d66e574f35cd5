"""What goes along with a connector that is deleted, or that leads elsewhere: as the command line says it."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from valetkey import Connector, Grant
from valetkey_console.broker.field_labels import label
from valetkey_console.pages.answer_or_failure import told
from valetkey_console.visits.visit import Visit

_MOST_LEASES = 500
_SERVED = ("resource_type", "resource_id")


@dataclass(frozen=True, slots=True)
class Bound:
    """What is bound to a connector: its grants and the tokens that are out; None for who may not see them.

    `last_end` is when the last of the tokens ends; `more` tells that there are more of them than were counted.
    """

    grants: list[Grant] | None
    tokens: int | None
    last_end: datetime | None
    more: bool


async def bound_to(visit: Visit, connector: Connector) -> Bound:
    """Returns what is bound to a connector; what cannot be had is no reason to keep what shall go."""
    grants, leases = await asyncio.gather(
        told(visit.broker.list_grants()),
        told(visit.broker.list_leases(connector=connector.name, limit=_MOST_LEASES)),
    )
    named = grants.value
    if named is not None:
        named = [each for each in named if connector.uid in {one.uid for one in each.connectors}]
    found = leases.value
    if found is None:
        return Bound(named, None, None, more=False)
    last = max((lease.expire_time for lease in found), default=None)
    return Bound(named, len(found), last, more=len(found) >= _MOST_LEASES)


def differences(before: Connector, changes: Mapping[str, Any]) -> list[str]:
    """Returns what changes of how and where a connector leads, but for its secret, in words.

    `changes` are arguments of `update_connector` or `rotate_credential`.
    """
    there: dict[str, str] = {**asdict(before.azure), "auth_method": before.auth_method}
    there |= {name: getattr(before, name) for name in _SERVED}
    asked: dict[str, str] = {**(changes.get("azure") or {})}
    asked |= {name: changes[name] for name in ("auth_method", *_SERVED) if changes.get(name)}
    asked |= dict.fromkeys(changes.get("remove", ()), "")
    if (resource := asked.get("resource_id")) and "://" not in resource:
        asked["resource_id"] = f"az://{resource}"
    return [
        f"{label(name)} changes from {there[name] or _none(name)} to {value or _none(name)}"
        for name, value in asked.items()
        if name in there and there[name] != value
    ]


def _none(name: str) -> str:
    return "all" if name in _SERVED else "none"
