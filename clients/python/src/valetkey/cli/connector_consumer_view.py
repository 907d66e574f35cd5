"""`valetkey service-connector describe --client`: what a consumer would receive of a connector."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from valetkey.cli.option_choices import TTL_LIMITS
from valetkey.cli.permission_and_attribute_parsing import PERMISSIONS
from valetkey.cli.screen import Screen
from valetkey.client import Client
from valetkey.durations import show_duration
from valetkey.errors import InvalidArgumentError
from valetkey.times import utc
from valetkey.values import Resource, Token

# Each is a handful of questions to the broker; one more is named with --resource-id.
_MOST_RESOURCES = 20


@dataclass(frozen=True, slots=True)
class Received:
    """What one token for a resource would be: `grant` allows it, for `ttl` at most; `limited_by` says why no longer."""

    resource: str
    permissions: tuple[str, ...]
    ttl: timedelta | None
    grant: str
    limited_by: str


def received(
    client: Client, screen: Screen, connector: str, *, resource_id: str | None, principal: str | None
) -> list[Received]:
    """Returns what a principal, or the caller, would receive of a connector by the grants there are. Issues nothing."""
    resources = [resource_id] if resource_id else _reached(client, screen, connector)
    return [found for resource in resources for found in _of(client, connector, resource, principal)]


def show_received(
    screen: Screen, connector: str, found: Sequence[Received], who: str, token: Token | None = None
) -> None:
    """Prints what would be received, and the token where one was asked for."""
    if screen.as_json:
        shown: dict[str, Any] = {"connector": connector, "principal": who or None, "client": [_json(e) for e in found]}
        screen.json(shown | ({"token": _token_json(token)} if token else {}))
        return
    if not found:
        screen.note(f"no grant lets {who or 'you'} use it; see why with: valetkey grant explain")
        return
    screen.table(
        ["RESOURCE", "PERMISSIONS", "TTL", "GRANT"],
        [[each.resource, ", ".join(each.permissions), _life(each), each.grant] for each in found],
    )
    if token is not None:
        screen.heading(f"Token for {token.resource.url}, until {utc(token.expire_time)}")
        screen.line(token.sas_token)


def token_of(client: Client, connector: str, found: Sequence[Received]) -> Token:
    """Returns a real token for the one resource that was found. Raises InvalidArgumentError where it is not one."""
    if len(found) != 1:
        raise InvalidArgumentError(
            f"--show-token: {len(found)} tokens could be meant; expected one, by --resource-id and what grants give"
        )
    return client.issue_token(found[0].resource, found[0].permissions, connector=connector, purpose="describe --client")


def _reached(client: Client, screen: Screen, connector: str) -> Sequence[str]:
    entries = client.list_resources(connector=connector)
    found = [each for entry in entries for each in entry.resources]
    failed = [entry.error for entry in entries if entry.error]
    if failed and not found:
        raise failed[0]
    for error in failed:
        screen.warn(str(error))
    if len(found) > _MOST_RESOURCES:
        screen.note(f"{len(found) - _MOST_RESOURCES} more containers are not shown; name one with --resource-id")
    return [_named(each, found) for each in found[:_MOST_RESOURCES]]


def _named(resource: Resource, among: Sequence[Resource]) -> str:
    """Returns a resource's id, in full where two accounts have a container of that name."""
    alike = [each for each in among if each.resource_id == resource.resource_id]
    return resource.resource_id if len(alike) == 1 else resource.url


def _of(client: Client, connector: str, resource: str, principal: str | None) -> list[Received]:
    """Returns one entry for each grant that allows something: grants do not add up in one token."""
    by_grant: dict[str, list[str]] = {}
    for permission in PERMISSIONS:
        answer = client.explain_access(resource, [permission], principal=principal, connector=connector)
        if answer.allowed:
            by_grant.setdefault(answer.grant, []).append(permission)
    found = []
    for grant, permissions in by_grant.items():
        answer = client.explain_access(resource, permissions, principal=principal, connector=connector)
        found.append(Received(resource, tuple(permissions), answer.ttl, answer.grant or grant, answer.ttl_limited_by))
    return found


def _life(each: Received) -> str:
    why = TTL_LIMITS.get(each.limited_by, each.limited_by)
    return show_duration(each.ttl or timedelta()) + (f" ({why})" if why else "")


def _json(each: Received) -> dict[str, Any]:
    return {
        "resource_id": each.resource,
        "permissions": list(each.permissions),
        "ttl_seconds": int(each.ttl.total_seconds()) if each.ttl is not None else None,
        "ttl_limited_by": each.limited_by,
        "grant": each.grant,
    }


def _token_json(token: Token) -> dict[str, Any]:
    return {
        "lease_id": token.lease_id,
        "url": token.resource.url,
        "expire_time": utc(token.expire_time),
        "sas_token": token.sas_token,
    }
