"""The page of one connector."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from valetkey import Connector, Event
from valetkey.rotation_values import CredentialVersion
from valetkey_console.broker.field_labels import label
from valetkey_console.pages.answer_or_failure import Told, told
from valetkey_console.pages.connectors.list import rotated, state
from valetkey_console.visits.rendering import command
from valetkey_console.visits.roles import ADMINS, AUDITORS, OPERATORS, READERS_OF_GRANTS
from valetkey_console.visits.visit import Visit

LATELY = timedelta(days=1)
# Of what went wrong lately, the newest.
_MOST_EVENTS = 10
# Of the records to look for it in: as many as the API gives in one answer.
_MOST_LOOKED_AT = 1_000
# Of what it reaches; the resources page shows all.
MOST_REACHED = 50

# What an operator can do with one: the page of it, and its name.
_ALWAYS = (("verify", "Verify"), ("update", "Update"))
_OF_ITS_OWN = (("rotate", "Rotate"), ("schedule", "Rotate on a schedule"))


async def show_one(visit: Visit) -> Response:
    """Shows what is known of a connector; what asks the cloud comes after the page."""
    connector = await visit.broker.get_connector(visit.name())
    secret = connector.authentication_secret
    # What has the credential: the connector, or the named secret that it uses.
    name, holder = (secret, "secret") if secret else (connector.name, "connector")
    versions, rotation, errors = await asyncio.gather(
        told(visit.broker.list_credential_versions(name, holder=holder)),
        told(visit.broker.get_rotation(name, holder=holder)),
        _errors(visit, connector.name),
    )
    return visit.render(
        "connectors/one.html",
        connector=connector,
        state=state(connector),
        rotated=rotated(connector),
        azure=configuration(connector),
        versions=versions,
        rotation=rotation,
        errors=errors,
        operates=visit.may(OPERATORS),
        grants=visit.may(ADMINS),
        reads_grants=visit.may(READERS_OF_GRANTS),
        actions=_actions(connector, versions.value or []),
        line=command("valetkey", "service-connector", "describe", of=connector.name),
    )


async def show_reach(visit: Visit) -> Response:
    """Shows what a connector reaches, as a part of its page: that asks the cloud, and takes a while."""
    name = visit.name()
    entries = await visit.broker.list_resources(connector=name, refresh="refresh" in visit.query)
    line = command("valetkey", "service-connector", "list-resources", "--connector", name)
    template = "connectors/reach_part.html" if visit.fragment else "connectors/reach.html"
    return visit.render(template, name=name, entries=entries, most=MOST_REACHED, line=line)


def configuration(connector: Connector) -> Sequence[tuple[str, str]]:
    """Returns what is not secret of how and where it leads, with names for people."""
    return [(label(name), value) for name, value in asdict(connector.azure).items() if value]


def _actions(connector: Connector, versions: Sequence[CredentialVersion]) -> Sequence[tuple[str, str]]:
    """Returns what can be done with it; the credential of a named secret is not its own."""
    found = [*_ALWAYS]
    if not connector.authentication_secret:
        found += _OF_ITS_OWN
        found += [("rollback", "Roll back")] if any(not each.in_use for each in versions) else []
    return found


async def _errors(visit: Visit, name: str) -> Told[list[Event]] | None:
    """Returns what went wrong with it lately, newest first; None for who may not see that."""
    if not visit.may(AUDITORS):
        return None
    asked: dict[str, Any] = {"newest": True, "since": datetime.now(UTC) - LATELY, "limit": _MOST_LOOKED_AT}
    found = await asyncio.gather(
        told(visit.broker.list_events(kind="denied", connector=name, **asked)),
        told(visit.broker.list_events(kind="rotation", connector=name, **asked)),
        # Records of changes name what they change, and no connector: the API cannot look for these.
        told(visit.broker.list_events(kind="change-failed", **asked)),
    )
    if failure := next((each.failure for each in found if each.failure), None):
        return Told(failure=failure)
    denied, rotations, failed = (each.value or [] for each in found)
    events = [*denied, *(each for each in rotations if each.reason)]
    events += [each for each in failed if each.object in (f"connectors/{name}", f"rotations/{name}")]
    return Told(sorted(events, key=lambda event: event.time, reverse=True)[:_MOST_EVENTS])
