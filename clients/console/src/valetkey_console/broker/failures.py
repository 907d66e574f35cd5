"""An error of the API as people read it: what happened, what to do, and how whoever runs the broker finds it."""

from collections.abc import Sequence
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
from valetkey_console.broker.field_labels import api_name, in_labels, label
from valetkey_console.broker.form_validation_error import FormValidationError


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed. `status` is the HTTP status of a page about it; `checks` are lines of what was checked.

    `field` is the API's name of the one field that it is about, empty where it is about none, or about several; then
    `message` says what is wrong with it, without its name. `told_by_checks` tells that the checks say it all. `more`
    are failures of the same form that are about other fields.
    """

    title: str
    message: str
    next_step: str
    status: int
    reason: str = ""
    request_id: str = ""
    checks: tuple[Check, ...] = ()
    field: str = ""
    told_by_checks: bool = False
    more: tuple["Failure", ...] = ()

    def problem_of(self, field: str) -> str:
        """What is wrong with a field, by the API's name; empty where nothing is."""
        return next((each.message for each in (self, *self.more) if each.field == field), "")

    @property
    def label(self) -> str:
        """What the form calls the field."""
        return label(self.field)


_TRY_AGAIN = "Try again in a moment. If the problem persists, tell whoever runs the broker."
_LOOK_FIRST = "Check whether the change was made before you try again."
# The first that fits counts: kinds before what they are kinds of.
_KINDS: tuple[tuple[type[ValetKeyError], str, str, int], ...] = (
    (BrokerUnreachableError, "The broker cannot be reached", _TRY_AGAIN, 503),
    (ConnectionLostError, "The connection to the broker was lost", _LOOK_FIRST, 503),
    (UnavailableError, "Temporarily unavailable", _TRY_AGAIN, 503),
    (DeadlineExceededError, "The broker did not answer in time", _LOOK_FIRST, 504),
    (BrokerTlsError, "The broker's certificate is not trusted", "Tell whoever runs the console.", 502),
    (SettingsError, "The console cannot call the broker", "Tell whoever runs the console.", 502),
    (InvalidArgumentError, "Check what you entered", "", 400),
    (PermissionDeniedError, "You are not allowed to do this", "Ask an admin of the broker for the role or grant.", 403),
    (NotFoundError, "Not found", "It may have been deleted. Go back to the list.", 404),
    (AlreadyExistsError, "This name is taken", "Choose another name, or change the existing one.", 409),
    (ConflictError, "Somebody else changed it first", "Reload the page and make your change again.", 409),
    (FailedPreconditionError, "This is not possible right now", "Fix what the message names, then try again.", 409),
)


def failure_of(error: ValetKeyError, *, reading: bool = False) -> Failure:
    """Returns what to tell of an error; `reading` tells that the call would have changed nothing."""
    title, step, status = next(
        ((title, step, status) for kind, title, step, status in _KINDS if isinstance(error, kind)),
        ("The broker could not do this", _TRY_AGAIN, 502),
    )
    if reading and step == _LOOK_FIRST:
        step = _TRY_AGAIN
    field, message = _of_field(error)
    told = _told_by(error.checks, error.message)
    if told:
        title, step = "A check failed", ""
    more = tuple(map(failure_of, error.errors[1:])) if isinstance(error, FormValidationError) else ()
    return Failure(title, message, step, status, error.reason, error.request_id, error.checks, field, told, more)


def failure_on_page(error: ValetKeyError, *, reading: bool = False) -> Failure:
    """Returns what to tell of an error on a page that goes on without what was asked; `reading` as in `failure_of`.

    Raises it again where the person is not known any more: that ends the session, whatever the page.
    """
    if isinstance(error, UnauthenticatedError):
        raise error
    return failure_of(error, reading=reading)


def _of_field(error: ValetKeyError) -> tuple[str, str]:
    """Returns the field that an error is about, if it is one, and what is wrong with it, in the words of pages."""
    if isinstance(error, AlreadyExistsError):
        # Whatever is taken was given as a name.
        return "name", in_labels(error.message)
    named = error.metadata.get("field", "")
    # Where the message does not begin with the field, it is about something else, which only has to do with it.
    start = f"{named}: "
    if not isinstance(error, InvalidArgumentError) or not named or not error.message.startswith(start):
        return "", in_labels(error.message)
    return api_name(named), in_labels(error.message.removeprefix(start))


def _told_by(checks: Sequence[Check], message: str) -> bool:
    """Tells whether a check that failed says what the message says; the check leaves out what its remedy says again."""
    return any(each.outcome == "failed" and each.message and each.message in message for each in checks)
