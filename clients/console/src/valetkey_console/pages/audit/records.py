"""What a record of the ledger says, in the columns of a list, and what the address asks of the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valetkey import Event, InvalidArgumentError
from valetkey.times import check_range
from valetkey_console.fields.parsing import moment
from valetkey_console.lists.columns import Column
from valetkey_console.lists.list_query import Asked
from valetkey_console.visits.rendering import by_option, command, segment

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
_BY_VALUE = ("kind", "principal", "resource", "connector", "request_id", "lease_id", "since", "until")
FILTERS = (*_BY_VALUE, "unfinished")
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
        "outcome not known" if event.outcome_unknown else "",
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


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the filters of an address ask for: the arguments of `list_events`, and what is wrong, by filter."""

    arguments: Mapping[str, Any]
    problems: Mapping[str, str]

    def require(self) -> Mapping[str, Any]:
        """Returns the arguments. Raises InvalidArgumentError with the first thing that is wrong."""
        for name, problem in self.problems.items():
            raise InvalidArgumentError(f"{name}: {problem}")
        return self.arguments


def wanted(asked: Asked) -> Wanted:
    """Returns what the filters of an address ask for."""
    said: dict[str, Any] = {name: value for name, value in asked.filters.items() if value}
    problems: dict[str, str] = {}
    for name in ("since", "until"):
        if name in said:
            try:
                said[name] = moment(said[name], name, ago=True)
            except InvalidArgumentError as error:
                problems[name] = error.message.removeprefix(f"{name}: ")
    if not problems:
        try:
            check_range(
                said.get("since"),
                said.get("until"),
                since=("since", asked.filters.get("since") or ""),
                until=("until", asked.filters.get("until") or ""),
            )
        except InvalidArgumentError as error:
            problems["since"] = error.message.removeprefix("since: ")
    if "kind" in said and said["kind"] not in KINDS:
        problems["kind"] = f"{said['kind']!r} is no kind of record; expected one of {', '.join(KINDS)}"
    return Wanted({**said, "unfinished": "unfinished" in said}, problems)


def search_line(filters: Mapping[str, str]) -> str:
    """Returns the command that searches for the same."""
    unfinished = ["--unfinished"] if filters.get("unfinished") else []
    return command("valetkey", "audit", "search", *by_option(filters, *_BY_VALUE), *unfinished)
