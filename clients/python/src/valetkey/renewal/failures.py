"""What those are told who wait for a token that does not come."""

import copy

from valetkey.callers.base import Terms
from valetkey.errors import DeadlineExceededError, ValetKeyError
from valetkey.renewal.held_token import HeldToken


def too_late(terms: Terms) -> ValetKeyError:
    """Returns the error of whoever has waited for as long as a call may take."""
    return DeadlineExceededError(
        f"no token came from the broker at {terms.endpoint} within {terms.timeout:g} s; try again, or allow more time",
        code="DEADLINE_EXCEEDED",
    )


def defect(error: Exception) -> ValetKeyError:
    """Returns what to say of an error that nobody thought of; its text could hold a token."""
    return ValetKeyError(f"renewing a token failed by a defect of valetkey ({type(error).__name__}); please report it")


def for_one_caller(error: ValetKeyError, held: HeldToken | None) -> ValetKeyError:
    """Returns a copy for one caller of many, which says what became of the token there was."""
    found = copy.copy(error)
    found.__traceback__ = None
    if held is not None and not held.good():
        resource = held.token.resource.resource_id
        found.message = f"the last token for {resource} is over, and there is no new one: {error.message}"
        found.args = (found.message,)
    return found
