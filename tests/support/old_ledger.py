"""A ledger as brokers made it before records had a version and details: its tables, and its first canonical form.

Written down here once more, in SQL and from the docs of then, so that nothing in the broker can change what it means.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

Execute = Callable[[str, Sequence[Any]], Any]
"""Runs one statement with `?` for its values."""

WRITER = "55555555-5555-4555-8555-555555555555"
PLACE = ("writer", "sequence", "previous_hash", "hash")
FIELDS: dict[str, Any] = {
    "kind": "token-issued",
    "time_us": 1_790_000_000_250_000,
    "request_id": "request",
    "method": "/valetkey.v1.TokenService/IssueToken",
    "principal": "key:trainer",
    "authentication": "api-key",
    "peer": "192.0.2.7",
    "object": "",
    "connector": "azure-blob-demo",
    "connector_uid": "44444444-4444-4444-8444-444444444444",
    "credential_version": 3,
    "resource": "https://demoaccount.blob.core.windows.net/models",
    "permissions": "rl",
    "ttl": 900,
    "expires": 1_790_000_900,
    "lease_id": "lease",
    "signature_sha256": "ab" * 32,
    "grant": "training",
    "reason": "",
    "purpose": 'größer: "run"',
    "count": 1,
    "account": "demoaccount",
    "container": "models",
}
"""The columns from `kind` on, in their order, with what they hold unless told otherwise."""
NUMBERS = {"sequence", "time_us", "credential_version", "ttl", "expires", "count"}


def make_tables(execute: Execute, *, sqlite: bool) -> None:
    """Makes the tables of the first migration."""
    number = "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT" if sqlite else "BIGSERIAL PRIMARY KEY"
    names = (*PLACE, *FIELDS)
    columns = ", ".join(f'"{name}" {"BIGINT" if name in NUMBERS else "VARCHAR"} NOT NULL' for name in names)
    place = "CONSTRAINT ledger_events_place UNIQUE (writer, sequence)"
    for statement in (
        f"CREATE TABLE ledger_events (id {number}, {columns}, {place})",
        "CREATE INDEX ledger_events_time ON ledger_events (time_us)",
        "CREATE INDEX ledger_events_principal ON ledger_events (principal, id)",
        "CREATE INDEX ledger_events_connector ON ledger_events (connector, id)",
        "CREATE INDEX ledger_events_request ON ledger_events (request_id)",
        "CREATE INDEX ledger_events_lease ON ledger_events (lease_id) WHERE lease_id <> ''",
        "CREATE INDEX ledger_events_expires ON ledger_events (expires) WHERE lease_id <> ''",
        "CREATE TABLE ledger_checkpoints (writer VARCHAR PRIMARY KEY, sequence BIGINT, hash VARCHAR, time_us BIGINT)",
        "CREATE TABLE ledger_probe (id INTEGER NOT NULL PRIMARY KEY, time_us BIGINT NOT NULL)",
        "INSERT INTO ledger_probe VALUES (1, 0)",
        "CREATE TABLE ledger_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
        "INSERT INTO ledger_version VALUES ('0001')",
    ):
        execute(statement, ())


def record(execute: Execute, sequence: int, previous: str, **fields: Any) -> str:
    """Appends a record as a broker of then did, and returns its hash. `previous` is empty for the first one."""
    values = {**FIELDS, "time_us": FIELDS["time_us"] + sequence, "lease_id": f"lease-{sequence}", **fields}
    previous = previous or hashlib.sha256(b"valetkey-ledger-1").hexdigest()
    form = json.dumps(["valetkey-ledger-1", WRITER, sequence, *values.values()], separators=(",", ":"))
    own = hashlib.sha256(bytes.fromhex(previous) + form.encode("ascii")).hexdigest()
    names = ", ".join(f'"{name}"' for name in (*PLACE, *FIELDS))
    row = (WRITER, sequence, previous, own, *values.values())
    execute(f"INSERT INTO ledger_events ({names}) VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 (our names)
    return own
