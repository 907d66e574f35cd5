"""What is told of a token that does not come: to those who wait for it, and in the log."""

import copy
import logging

from valetkey.callers.base import Terms
from valetkey.clock_through_suspend import now
from valetkey.errors import (
    BrokerUnreachableError,
    ConnectionLostError,
    DeadlineExceededError,
    PermissionDeniedError,
    UnauthenticatedError,
    ValetKeyError,
    WatchEndedError,
)
from valetkey.renewal.held_token import HeldToken

_log = logging.getLogger("valetkey")


def too_late(terms: Terms) -> ValetKeyError:
    """Returns the error of whoever has waited for as long as a call may take."""
    return DeadlineExceededError(
        f"no token came from the broker at {terms.endpoint} within {terms.timeout:g} s; try again, or allow more time",
        code="DEADLINE_EXCEEDED",
    )


def lost(terms: Terms, waited: float) -> ValetKeyError:
    """Returns the error of a stream on which nothing came for so many seconds."""
    return ConnectionLostError(
        f"the connection to the broker at {terms.endpoint} was lost: nothing came for {waited:.0f} s",
        code="UNAVAILABLE",
    )


def defect(error: Exception) -> ValetKeyError:
    """Returns what to say of an error that nobody thought of; its text could hold a token."""
    return ValetKeyError(f"renewing a token failed by a defect of valetkey ({type(error).__name__}); please report it")


def nobody_was_asked(error: ValetKeyError) -> bool:
    """Tells whether a broker never came to look at who asked, as it is away, or as good as that."""
    if isinstance(error, (BrokerUnreachableError, ConnectionLostError, DeadlineExceededError)):
        return True
    return error.reason in ("SHUTDOWN", "NOT_SERVING")


def refused(error: ValetKeyError) -> bool:
    """Tells whether a broker looked at who asked, and said no."""
    if isinstance(error, WatchEndedError):
        return error.final
    return isinstance(error, (UnauthenticatedError, PermissionDeniedError))


def for_one_caller(error: ValetKeyError, held: HeldToken | None) -> ValetKeyError:
    """Returns a copy for one caller of many, which says what became of the token there was."""
    found = copy.copy(error)
    found.__traceback__ = None
    if held is not None and not held.good():
        resource = held.token.resource.resource_id
        found.message = f"the last token for {resource} is over, and there is no new one: {error.message}"
        found.args = (found.message,)
    return found


def log(error: ValetKeyError, held: HeldToken) -> None:
    """Warns of a token that lives, and cannot be renewed."""
    _log.warning(
        "the token for %s lives for %.0f s more and cannot be renewed: %s",
        held.token.resource.resource_id,
        held.ends - now(),
        error.message,
    )


def log_their_end(held: HeldToken) -> None:
    """Tells that a token came after such warnings."""
    _log.warning("tokens for %s are renewed again", held.token.resource.resource_id)
