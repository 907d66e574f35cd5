"""Errors as exit codes and as words."""

from collections.abc import Sequence
from typing import Any

from valetkey import errors
from valetkey.checklist_values import Check
from valetkey.cli.checklist_views import checks_json

REFUSED = 1
USAGE = 2
NOT_PERMITTED = 3
NOT_FOUND = 4
UNAVAILABLE = 5
ENDING = 6
INTERRUPTED = 130

_CODES: tuple[tuple[type[errors.ValetKeyError], int], ...] = (
    (errors.SettingsError, USAGE),
    (errors.BrokerTlsError, USAGE),
    (errors.UnauthenticatedError, NOT_PERMITTED),
    (errors.PermissionDeniedError, NOT_PERMITTED),
    (errors.NotFoundError, NOT_FOUND),
    (errors.UnavailableError, UNAVAILABLE),
    (errors.WatchEndedError, UNAVAILABLE),
    (errors.DeadlineExceededError, UNAVAILABLE),
)


def exit_code(error: errors.ValetKeyError) -> int:
    """Returns the exit code for an error, as docs/cli.md lists them."""
    if isinstance(error, errors.InvalidArgumentError) and not error.code:
        return USAGE  # the client itself refused the value; nothing was sent
    if isinstance(error, errors.WatchEndedError) and (error.final or error.reason == "IDENTITY_EXPIRED"):
        return NOT_PERMITTED
    return next((code for kind, code in _CODES if isinstance(error, kind)), REFUSED)


def facts(error: errors.ValetKeyError) -> str:
    """Returns the line below an error: reason, request id, and when to try again."""
    parts = []
    if error.reason:
        parts.append(f"reason {error.reason}")
    if error.request_id:
        parts.append(f"request id {error.request_id}")
    if error.retry_delay is not None:
        parts.append(f"retry in {error.retry_delay.total_seconds():g}s")
    return " · ".join(parts)


def without_remedies(message: str, checks: Sequence[Check]) -> str:
    """Returns a message without the remedy at its end that the lines of what was checked have shown already."""
    for check in checks:
        todo = check.mend.partition("\n")[0]  # Below it stands a command, which no message has.
        if todo and message.endswith(todo):
            return message.removesuffix(todo).rstrip(" :")
    return message


def as_json(error: errors.ValetKeyError) -> dict[str, Any]:
    """Returns an error as a JSON object; keys that say nothing are left out."""
    found = {
        "message": error.message,
        "reason": error.reason,
        "code": error.code,
        "metadata": error.metadata,
        "request_id": error.request_id,
        "trace_id": error.trace_id,
    }
    shown: dict[str, Any] = {key: value for key, value in found.items() if value}
    if error.checks:
        shown["checks"] = checks_json(error.checks)
    if error.retry_delay is not None:
        shown["retry_delay_seconds"] = error.retry_delay.total_seconds()
    return shown
