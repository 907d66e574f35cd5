"""What connectors reach as rows of a list: one for each resource, and one for each thing that cannot be looked at."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from valetkey import ConnectorResources, Resource


@dataclass(frozen=True, slots=True)
class Reached:
    """One row; `state` is ok, nothing, or failed, where `problem` says why. None stands for "not known"."""

    connector: str
    connector_type: str
    resource_type: str
    state: str
    account: str | None = None
    resource_id: str | None = None
    url: str | None = None
    problem: str = ""
    reason: str = ""


def rows_of(entries: Iterable[ConnectorResources]) -> list[Reached]:
    """Returns the rows of all connectors."""
    return [row for entry in entries for row in _rows(entry)]


def resources_of(entries: Iterable[ConnectorResources]) -> list[Resource]:
    """Returns what they reach, each URL once: several connectors may reach the same."""
    return list({each.url: each for entry in entries for each in entry.resources}.values())


def _rows(entry: ConnectorResources) -> Iterator[Reached]:
    who = (entry.connector, entry.connector_type, entry.resource_type)
    if entry.error is not None:
        yield Reached(*who, "failed", problem=entry.error.message, reason=entry.error.reason)
        return
    for each in entry.resources:
        yield Reached(*who, "ok", each.account, each.resource_id, each.url)
    for failed in entry.resources.account_errors:
        # A place that may hold several accounts has no name of its own.
        account = failed.account or None
        yield Reached(*who, "failed", account, problem=failed.error.message, reason=failed.error.reason)
    if entry.incomplete and not entry.resources.account_errors:
        yield Reached(*who, "failed", problem="Some of its resources could not be listed right now.")
    elif not entry.resources and not entry.resources.account_errors:
        yield Reached(*who, "nothing", problem="It works, but reaches no resource.")
