"""What a record of the ledger says, in the columns of a list, and what the address asks of the ledger."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from valetkey import Event, InvalidArgumentError
from valetkey_console.fields.typed import UNITS, iso_moment
from valetkey_console.lists.asked import Asked
from valetkey_console.lists.columns import Column
from valetkey_console.visits.rendering import command, segment

# The kinds of record that the API can be asked for, in the words of `valetkey audit search --kind`.
KINDS = (
    "token-issued",
    "denied",
    "authentication-failed",
    "change-begun",
    "admin-change",
    "change-failed",
    "change-reconciled",
    "rotation",
    "keys-revoked",
    "revocation-proved",
    "pruned",
    "unknown",
)
FILTERS = ("kind", "principal", "connector", "request_id", "lease_id", "since", "until", "unfinished")
# How many of the newest records that fit are asked for: as many as the API gives in one answer.
MOST = 1_000


def what(event: Event) -> tuple[str, ...]:
    """Returns what a record is about: the method, the object or resource, and the permissions."""
    told = (
        event.method.rpartition("/")[2],
        event.object,
        ",".join(event.permissions),
        event.resource,
        f"purpose: {event.purpose}" if event.purpose else "",
    )
    return tuple(each for each in told if each)


def why(event: Event) -> tuple[str, ...]:
    """Returns by which grant or for which reason, how often, and what only this kind of record tells."""
    told = (
        f"grant {event.grant}" if event.grant else "",
        event.reason,
        f"{event.count} times" if event.count > 1 else "",
        *(f"{name}: {value}" for name, value in event.details.items()),
    )
    return tuple(each for each in told if each)


COLUMNS = (
    Column[Event]("time", "Time", lambda event: event.time, link=lambda event: f"/audit/records/{event.id}"),
    Column[Event]("kind", "Kind", lambda event: event.kind, look="state"),
    Column[Event]("principal", "Principal", lambda event: event.principal, look="code who"),
    Column[Event]("what", "What", what),
    Column[Event]("why", "Grant or reason", why),
    Column[Event]("connector", "Connector", lambda event: event.connector, look="code"),
    Column[Event](
        "lease",
        "Lease",
        lambda event: event.lease_id,
        link=lambda event: f"/leases/{segment(event.lease_id)}",
        look="code",
    ),
    Column[Event](
        "request",
        "Request",
        lambda event: event.request_id,
        link=lambda event: f"/audit/requests/{segment(event.request_id)}",
        look="code",
    ),
)


def wanted(asked: Asked) -> dict[str, Any]:
    """Returns the arguments of `list_events` for the filters of an address. Raises InvalidArgumentError."""
    said = {name: value for name, value in asked.filters.items() if value}
    for name in ("since", "until"):
        if name in said:
            said[name] = moment_of(said[name], name)  # type: ignore[assignment]
    if "kind" in said and said["kind"] not in KINDS:
        raise InvalidArgumentError(f"kind: {said['kind']!r} is no kind of record; expected one of {', '.join(KINDS)}")
    return {**said, "unfinished": "unfinished" in said}


def moment_of(text: str, name: str) -> datetime:
    """Returns the moment that an ISO 8601 time names, in UTC without a zone, or that lies 15m, 1h or 7d back."""
    try:
        if text[-1] in UNITS and text[:-1].isdecimal():
            return datetime.now(UTC) - timedelta(seconds=int(text[:-1]) * UNITS[text[-1]])
        if not text.isdigit():
            return iso_moment(text)
    except (ValueError, OverflowError):
        pass
    raise InvalidArgumentError(f"{name}: {text!r} is no time; expected 15m, 1h or 7d ago, or 2026-05-01T12:00:00Z")


def search_line(filters: Mapping[str, str]) -> str:
    """Returns the command that searches for the same."""
    words = ["valetkey", "audit", "search"]
    for name in FILTERS:
        if name == "unfinished":
            words += ["--unfinished"] if filters.get(name) else []
        elif value := filters.get(name):
            words += [f"--{name.replace('_', '-')}", value]
    return command(*words)
