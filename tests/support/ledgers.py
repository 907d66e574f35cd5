"""Ledgers for tests, and events to put into them."""

import contextlib
import functools
import itertools
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from valetkey_broker.ledger import SqlLedger
from valetkey_broker.ledger.database import Database
from valetkey_broker.model import Event, EventKind, Secret
from valetkey_broker.settings import LedgerSettings

_names = itertools.count(1)


def provide_tables(file: Path) -> None:
    """Puts an empty ledger there, its tables made: Alembic takes 40 ms for them, and the disk three times as long."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_bytes(_empty_ledger())


@functools.cache
def _empty_ledger() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "ledger.db"
        database = Database(lambda: Secret(f"sqlite:///{file}"), 60.0)
        database.migrate()
        database.close()
        return file.read_bytes()


def issued(**fields: Any) -> Event:
    """Returns the event of an issued token."""
    values: dict[str, Any] = {
        "kind": EventKind.TOKEN_ISSUED,
        "time": 1_790_000_000.25,
        "request_id": str(uuid.uuid4()),
        "method": "/valetkey.v1.TokenService/IssueToken",
        "principal": "key:trainer",
        "authentication": "api-key",
        "peer": "192.0.2.7",
        "connector": "azure-blob-demo",
        "connector_uid": "44444444-4444-4444-8444-444444444444",
        "credential_version": 3,
        "resource": "https://demoaccount.blob.core.windows.net/models",
        "permissions": "rl",
        "ttl": 900,
        "expires": 1_790_000_900,
        "lease_id": str(uuid.uuid4()),
        "signature_sha256": "ab" * 32,
        "grant": "training",
        "purpose": "run 17",
    }
    return Event(**{**values, **fields})


def denied(**fields: Any) -> Event:
    """Returns the event of a refused request."""
    values: dict[str, Any] = {
        "kind": EventKind.DENIED,
        "time": 1_790_000_000.0,
        "principal": "key:stranger",
        "resource": "az://models",
        "reason": "RESOURCE_DENIED",
    }
    return Event(**{**values, **fields})


@contextlib.asynccontextmanager
async def open_ledger(url: str, **settings: Any) -> AsyncIterator[SqlLedger]:
    """Gives an open ledger; closes it afterwards."""
    ledger = SqlLedger(LedgerSettings(url=url, **settings))
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


def new_name() -> str:
    """Returns a name for a database that no other test of this process has."""
    return f"ledger_{next(_names)}_{uuid.uuid4().hex[:8]}"
