"""What is told of errors on pages that go on."""

import pytest

from valetkey import NotFoundError, UnauthenticatedError
from valetkey_console.broker.failures import failure_of, failure_on_page


def test_no_page_goes_on_without_its_person() -> None:
    """An ended session is not one failure among others: it leads to the log-in, whatever the page."""
    ended = UnauthenticatedError("the API key is not known")
    with pytest.raises(UnauthenticatedError) as found:
        failure_on_page(ended)
    assert found.value is ended
    missing = NotFoundError("there is no grant training")
    assert failure_on_page(missing) == failure_of(missing)
