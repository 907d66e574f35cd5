"""An error of the API as people read it: what happened, what to do, and how whoever runs the broker finds it."""

from dataclasses import dataclass

from valetkey import (
    AlreadyExistsError,
    BrokerTlsError,
    BrokerUnreachableError,
    Check,
    ConflictError,
    ConnectionLostError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    SettingsError,
    UnauthenticatedError,
    UnavailableError,
    ValetKeyError,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed. `status` is the HTTP status of a page about it; `checks` are lines of what was checked."""

    title: str
    message: str
    next_step: str
    status: int
    reason: str = ""
    request_id: str = ""
    checks: tuple[Check, ...] = ()


_TRY_AGAIN = "Try again in a moment. If it stays like this, tell whoever runs the broker."
_LOOK_FIRST = "Look whether the change took place before you make it again."
# The first that fits counts: kinds before what they are kinds of.
_KINDS: tuple[tuple[type[ValetKeyError], str, str, int], ...] = (
    (BrokerUnreachableError, "The broker cannot be reached", _TRY_AGAIN, 503),
    (ConnectionLostError, "The connection to the broker was lost", _LOOK_FIRST, 503),
    (UnavailableError, "Not available for now", _TRY_AGAIN, 503),
    (DeadlineExceededError, "No answer came in time", _LOOK_FIRST, 504),
    (BrokerTlsError, "The broker's certificate is not trusted", "Tell whoever runs the console.", 502),
    (SettingsError, "The console cannot call the broker", "Tell whoever runs the console.", 502),
    (InvalidArgumentError, "Something in it cannot be used", "Change what the message names, and try again.", 400),
    (PermissionDeniedError, "You may not do this", "Ask an admin of the broker for the role or the grant.", 403),
    (NotFoundError, "There is no such thing (any more)", "Go back to the list.", 404),
    (AlreadyExistsError, "The name is taken", "Choose another name, or change the one that is there.", 409),
    (ConflictError, "Somebody else was faster", "Load the page again and make the change once more.", 409),
    (FailedPreconditionError, "Not as things are now", "Mend what the message names, and try again.", 409),
)


def failure_of(error: ValetKeyError) -> Failure:
    """Returns what to tell of an error."""
    title, step, status = next(
        ((title, step, status) for kind, title, step, status in _KINDS if isinstance(error, kind)),
        ("The broker could not do this", _TRY_AGAIN, 502),
    )
    return Failure(title, error.message, step, status, error.reason, error.request_id, error.checks)


def failure_on_page(error: ValetKeyError) -> Failure:
    """Returns what to tell of an error on a page that goes on without what was asked.

    Raises it again where the person is not known any more: that ends the session, whatever the page.
    """
    if isinstance(error, UnauthenticatedError):
        raise error
    return failure_of(error)
