"""Resources as rows and as JSON."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.text import Text

from valetkey.cli import error_output
from valetkey.cli.screen import Screen, printable
from valetkey.values import ConnectorResources, Resource, Resources

_NONE = "(none)"
_COLUMNS = ["CONNECTOR ID", "CONNECTOR NAME", "CONNECTOR TYPE", "RESOURCE TYPE", "RESOURCE NAMES"]


def _resource_json(resource: Resource) -> dict[str, str]:
    """Returns a resource as a JSON object."""
    return {
        "resource_type": resource.resource_type,
        "resource_id": resource.resource_id,
        "account": resource.account,
        "url": resource.url,
    }


def reached_json(resources: Resources) -> dict[str, Any]:
    """Returns what a connector was just proved to reach as fields of a JSON object."""
    return {
        "resources": [_resource_json(resource) for resource in resources],
        "account_errors": _account_errors_json(resources),
        "left_out": resources.left_out,
    }


def entry_json(entry: ConnectorResources) -> dict[str, Any]:
    """Returns what one connector reaches as a JSON object; `error` is null where it could be listed."""
    return {
        "connector_id": entry.connector_uid,
        "connector": entry.connector,
        "connector_type": entry.connector_type,
        "resource_type": entry.resource_type,
        "resources": [_resource_json(resource) for resource in entry.resources],
        "error": error_output.as_json(entry.error) if entry.error else None,
        "account_errors": _account_errors_json(entry.resources),
        "incomplete": entry.incomplete,
    }


def _account_errors_json(resources: Resources) -> list[dict[str, Any]]:
    """Returns the errors of single accounts as JSON objects."""
    return [{"account": each.account, **error_output.as_json(each.error)} for each in resources.account_errors]


def _warn_of_accounts(screen: Screen, resources: Resources, connector: str) -> None:
    """Says which accounts of a connector could not be looked through, and why."""
    for each in resources.account_errors:
        where = f"storage account {each.account} of connector {connector}" if each.account else f"connector {connector}"
        screen.warn(f"{where}: {each.error}")


def print_reached(screen: Screen, connector: str, resources: Resources, resource_types: Sequence[str] = ()) -> None:
    """Prints what a connector was just proved to reach, a row for each type, and what is missing there.

    Of `resource_types` each has a row, also where nothing was found of it.
    """
    ambiguous = _ambiguous(resources)
    types = dict.fromkeys([*resource_types, *(each.resource_type for each in resources)]) or [""]
    rows = [[of, _names((each for each in resources if each.resource_type == of), ambiguous)] for of in types]
    screen.table(["RESOURCE TYPE", "RESOURCE NAMES"], rows)
    _warn_of_accounts(screen, resources, connector)
    if resources.left_out:
        more = f"{resources.left_out} more are not shown"
        screen.note(f"{more}; `valetkey service-connector list-resources --connector {connector}` lists all")


def print_numbered(say: Callable[[str], None], resources: Resources, limit: int) -> None:
    """Prints resources with numbers to choose them by, at most `limit`, and how many more there are."""
    ambiguous = _ambiguous(resources)
    for number, resource in enumerate(resources[:limit], 1):
        say(f"  {number}. {_name(resource, ambiguous)}")
    if more := max(len(resources) - limit, 0) + resources.left_out:
        say(f"  … and {more} more, to be chosen by their id")
    for each in resources.account_errors:
        say(f"  {each.account or 'some accounts'}: {each.error}")


def print_entries(screen: Screen, entries: list[ConnectorResources]) -> None:
    """Prints what several connectors reach; one that fails shows its error in its own row."""
    ambiguous = _ambiguous(resource for entry in entries for resource in entry.resources)
    screen.table(
        _COLUMNS,
        [
            [
                entry.connector_uid,
                entry.connector,
                entry.connector_type,
                entry.resource_type,
                _error(entry) if entry.error else _names(entry.resources, ambiguous),
            ]
            for entry in entries
        ],
    )
    for entry in entries:
        _warn_of_accounts(screen, entry.resources, entry.connector)
        if entry.incomplete and not entry.resources.account_errors:
            screen.note(f"connector {entry.connector}: some of what it reaches could not be listed right now")


def _error(entry: ConnectorResources) -> Text:
    return Text(printable(f"error: {entry.error}"), style="red")


def _names(resources: Iterable[Resource], ambiguous: set[str]) -> str:
    # Two accounts may have containers of one name; then only the URL tells them apart.
    return "\n".join(_name(resource, ambiguous) for resource in resources) or _NONE


def _name(resource: Resource, ambiguous: set[str]) -> str:
    return f"{resource.resource_id} ({resource.url})" if resource.resource_id in ambiguous else resource.resource_id


def _ambiguous(resources: Iterable[Resource]) -> set[str]:
    urls: dict[str, set[str]] = defaultdict(set)
    for resource in resources:
        urls[resource.resource_id].add(resource.url)
    return {resource_id for resource_id, found in urls.items() if len(found) > 1}
