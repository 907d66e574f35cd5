"""What is told of errors on pages that go on."""

import pytest

from valetkey import ConnectionLostError, DeadlineExceededError, NotFoundError, UnauthenticatedError, ValetKeyError
from valetkey_console.broker.failures import failure_of, failure_on_page


def test_no_page_goes_on_without_its_person() -> None:
    """An ended session is not one failure among others: it leads to the log-in, whatever the page."""
    ended = UnauthenticatedError("the API key is not known")
    with pytest.raises(UnauthenticatedError) as found:
        failure_on_page(ended)
    assert found.value is ended
    missing = NotFoundError("there is no grant training")
    assert failure_on_page(missing) == failure_of(missing)


@pytest.mark.parametrize("kind", [DeadlineExceededError, ConnectionLostError])
def test_nobody_looks_for_a_change_that_was_none(kind: type[ValetKeyError]) -> None:
    """After a form it is unknown what was done; a page that only shows something can be asked for again."""
    late = kind("the broker did not answer")
    assert "Check whether the change was made" in failure_of(late).next_step
    assert "Check whether" not in failure_of(late, reading=True).next_step
    assert "Try again" in failure_of(late, reading=True).next_step
