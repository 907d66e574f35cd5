"""How the ledger is told of a change that somebody begins at the command line."""

import uuid

from valetkey_broker.model import Event, EventKind


def begun_change(now: float, method: str, principal: str, path: str) -> Event:
    """Returns the record: `method` is the command, `path` the document in Vault that it changes."""
    return Event(
        kind=EventKind.CHANGE_BEGUN,
        time=now,
        request_id=str(uuid.uuid4()),
        method=method,
        principal=principal,
        object=path,
    )
