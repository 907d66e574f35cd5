"""Records of the ledger as lines, as a table and as JSON."""

from collections.abc import Iterable
from typing import Any

from valetkey.cli.quoting import quoted
from valetkey.cli.screen import Screen
from valetkey.ledger_values import Event
from valetkey.times import utc

_NAMES = {"connector", "purpose", "grant", "reason", "lease", "peer", "request"}


def event_json(event: Event) -> dict[str, Any]:
    """Returns a record as a JSON object; what does not apply is null or empty."""
    return {
        "id": event.id,
        "writer": event.writer,
        "sequence": event.sequence,
        "time": utc(event.time),
        "kind": event.kind,
        "method": event.method,
        "request_id": event.request_id,
        "principal": event.principal,
        "authentication": event.authentication,
        "peer": event.peer,
        "object": event.object,
        "connector": event.connector,
        "connector_id": event.connector_uid,
        "credential_version": event.credential_version,
        "resource": event.resource,
        "permissions": list(event.permissions),
        "ttl_seconds": event.ttl.total_seconds() if event.ttl is not None else None,
        "expire_time": utc(event.expire_time) if event.expire_time else None,
        "lease_id": event.lease_id,
        "signature_sha256": event.signature_sha256,
        "grant": event.grant,
        "reason": event.reason,
        "purpose": event.purpose,
        "count": event.count,
        "details": dict(sorted(event.details.items())),
        "hash": event.hash,
    }


def event_line(event: Event) -> str:
    """Returns a record as one line: time, kind, principal, what it is about, why, and the request id."""
    parts = [
        utc(event.time),
        event.kind,
        _word(event.principal) or "-",
        *_what(event),
        _why(event),
        _named("lease", event.lease_id),
        _named("peer", event.peer),
        _named("request", event.request_id),
    ]
    return " ".join(part for part in parts if part)


def print_events(screen: Screen, events: Iterable[Event]) -> None:
    """Prints records, one row each."""
    screen.table(
        ["ID", "TIME", "KIND", "PRINCIPAL", "WHAT", "GRANT OR REASON", "LEASE ID", "PEER", "REQUEST ID"],
        [
            [
                str(event.id),
                utc(event.time),
                event.kind,
                _word(event.principal),
                "\n".join(part for part in _what(event) if part),
                _why(event),
                _word(event.lease_id),
                _word(event.peer),
                _word(event.request_id),
            ]
            for event in events
        ],
    )


def _what(event: Event) -> list[str]:
    return [
        _word(event.method.rpartition("/")[2]),
        _word(event.object),
        ",".join(event.permissions),
        _word(event.resource),
        _named("connector", event.connector),
        f"purpose={event.purpose!r}" if event.purpose else "",
    ]


def _why(event: Event) -> str:
    parts = [
        _named("grant", event.grant),
        "outcome not known" if event.outcome_unknown else "",
        _named("reason", event.reason),
        f"x{event.count}" if event.count > 1 else "",
        *(f"{_detail_name(name)}={value!r}" for name, value in sorted(event.details.items())),
    ]
    return " ".join(part for part in parts if part)


def _detail_name(name: str) -> str:
    # Nobody's broker gives a detail one of these names, but somebody who writes to the database can.
    return repr(name) if name in _NAMES else quoted(name)


def _word(value: str) -> str:
    return quoted(value) if value else ""


def _named(name: str, value: str) -> str:
    return f"{name}={quoted(value)}" if value else ""
