"""The ledger's record of a change that is begun by a command of the server."""

import uuid

from valetkey_broker.model import Event, EventKind


def change_begun_event(now: float, method: str, principal: str, path: str) -> Event:
    """Returns the record: `method` is the command, `path` the document in Vault that it changes."""
    return Event(
        kind=EventKind.CHANGE_BEGUN,
        time=now,
        request_id=str(uuid.uuid4()),
        method=method,
        principal=principal,
        object=path,
    )
