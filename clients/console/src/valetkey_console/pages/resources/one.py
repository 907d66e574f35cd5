"""One resource: by which connectors it is reached, which grants reach it, and who had tokens for it today."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from valetkey import Grant, InvalidArgumentError, Lease, Resource
from valetkey_console.pages.grant_patterns import reaches
from valetkey_console.pages.independent_part import part
from valetkey_console.pages.resources.ids import container_of
from valetkey_console.pages.resources.rows import resources_of, rows_of
from valetkey_console.visits.rendering import command
from valetkey_console.visits.roles import ADMINS, AUDITORS, OPERATORS, READERS_OF_GRANTS, VIEWERS
from valetkey_console.visits.visit import Visit

DAY = timedelta(days=1)
# Of the tokens of a day, the newest; and of each of the tables.
_MOST_LEASES = 1_000
_MOST_SHOWN = 50
_LAST_SHOWN = 10


@dataclass(slots=True)
class Holder:
    """Who had tokens, how many, by which grants, for what, and when the last was issued."""

    principal: str
    count: int = 0
    last: datetime | None = None
    grants: set[str] = field(default_factory=set)
    permissions: set[str] = field(default_factory=set)


async def show_one(visit: Visit) -> Response:
    """Shows one resource, named by its id or, where two accounts have one of that name, by its URL."""
    asked = visit.query.get("resource", "").strip()
    if not asked:
        raise InvalidArgumentError("no resource is named; expected one such as az://models, or its URL")
    broker = visit.broker
    entries, grants, leases = await asyncio.gather(
        # Connectors reach containers; leases are for paths in them, too.
        broker.list_resources(resource_id=container_of(asked)),
        part(visit, READERS_OF_GRANTS, broker.list_grants),
        part(
            visit,
            READERS_OF_GRANTS,
            lambda: broker.list_leases(resource=asked, include_expired=True, limit=_MOST_LEASES),
        ),
    )
    found, rows = resources_of(entries), rows_of(entries)
    now = datetime.now(UTC)
    uids = {entry.connector_uid for entry in entries if entry.resources}
    reaching = sorted(_reaching(grants.value or (), found, uids), key=lambda grant: grant.name)
    today = [lease for lease in leases.value or () if lease.issue_time >= now - DAY]
    return visit.render(
        "resources/one.html",
        asked=asked,
        found=found,
        name=found[0].resource_id if len(found) == 1 else asked,
        # What reaches it comes first, however many could not be looked at.
        rows=[row for row in rows if row.state != "failed"],
        failed=[row for row in rows if row.state == "failed"],
        grants=grants,
        reaching=reaching,
        leases=leases,
        today=today,
        holders=_holders(today),
        cut=len(leases.value or ()) == len(today) == _MOST_LEASES,
        shown=_MOST_SHOWN,
        last_shown=_LAST_SHOWN,
        now=now,
        reader=visit.may(READERS_OF_GRANTS),
        reads_ledger=visit.may(AUDITORS),
        sees_connectors=visit.may(VIEWERS),
        may_grant=visit.may(ADMINS),
        may_revoke=visit.may(OPERATORS),
        token_line=_token_line(asked, found),
        line=command("valetkey", "service-connector", "list-resources", "--resource-id", asked),
    )


def _token_line(asked: str, found: Sequence[Resource]) -> str:
    """Returns the command for a token; empty where two accounts have one of that name, or no connector reaches it."""
    return (
        command("valetkey", "token", "issue", "--resource", asked, "--permissions", "read") if len(found) == 1 else ""
    )


def _reaching(grants: Iterable[Grant], found: Sequence[Resource], uids: set[str]) -> list[Grant]:
    """Returns the grants that reach one of the resources: by a connector that does, and by the container's name."""
    names = {each.resource_id.removeprefix("az://").partition("/")[0] for each in found}
    return [
        grant
        for grant in grants
        if any(connector.uid in uids for connector in grant.connectors)
        and any(reaches(pattern, name) for pattern in grant.containers for name in names)
    ]


def _holders(leases: Iterable[Lease]) -> list[Holder]:
    by: dict[str, Holder] = {}
    for lease in leases:
        holder = by.setdefault(lease.principal, Holder(lease.principal))
        holder.count += 1
        holder.last = max(holder.last or lease.issue_time, lease.issue_time)
        holder.grants.add(lease.grant)
        holder.permissions.update(lease.permissions)
    return sorted(by.values(), key=lambda holder: (-holder.count, holder.principal))
