"""What is known of the call being served."""

import itertools
import math
import os
import re
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from valetkey_broker.model import CallInfo, Principal
from valetkey_broker.observability.redaction import scrub

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

Metadata = Sequence[tuple[str, str | bytes]]

# Ids of one process follow each other: the ledger's index of them stays together on few pages.
_PROCESS = os.urandom(6).hex()
_numbers = itertools.count(1)


@dataclass(slots=True)
class Call:
    """One call: its id and, once authenticated, its caller. `peer` is the peer's address without its port.

    It is served for at most `limit` seconds, whatever its caller allows.
    """

    request_id: str
    principal: Principal | None = None
    method: str = ""
    peer: str = ""
    limit: float = math.inf


current_call: ContextVar[Call] = ContextVar("current_call")
"""The call that the running task serves."""


def caller() -> Principal:
    """Returns the authenticated caller of the running call. Raises where a method forgot to need one."""
    principal = current_call.get().principal
    if principal is None:
        raise AssertionError("a method without authentication asked for its caller")
    return principal


def call_info() -> CallInfo:
    """Returns what a use case gets to know of the running call."""
    call = current_call.get()
    return CallInfo(call.request_id, call.method, caller(), call.peer)


def request_id_of(metadata: Metadata) -> str:
    """Returns the caller's `x-request-id` if it is one harmless word and looks like no secret, otherwise a new one."""
    for name, value in metadata:
        if name == "x-request-id" and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            # It goes into the log, the ledger and the answer: a secret, put there by mistake, must not.
            if scrub(value) == value:
                return value
            break
    return f"{_PROCESS}{next(_numbers):08x}"
