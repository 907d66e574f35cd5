"""The broker's clock against Azure's, by the Date of any answer: told once, and only where it is sure."""

from email.utils import formatdate

import pytest
from structlog.testing import capture_logs

from support.core import NOW, FakeClock
from valetkey_broker.adapters.azure.clock_skew import ClockSkew


@pytest.mark.parametrize(("theirs", "seconds"), [(0, 0), (-0.9, 0), (-90, 89), (90, 88), (-5000, 4999)])
def test_the_skew_is_what_is_sure(theirs: float, seconds: float) -> None:
    """A Date has whole seconds, and an answer takes its time: neither is taken for skew."""
    clock = FakeClock(NOW + 2)
    skew = ClockSkew("dev", clock)
    skew.heard(formatdate(NOW + theirs, usegmt=True), NOW)
    assert skew.seconds is not None
    assert abs(skew.seconds) == pytest.approx(seconds, abs=1)
    assert (skew.seconds > 0) == (theirs < -1)


def test_it_is_logged_once() -> None:
    """A fleet whose clock is off fills no log; when it was well in between, it is told again."""
    skew = ClockSkew("dev", FakeClock())
    with capture_logs() as logs:
        for theirs in (-90, -90, 0, -90):
            skew.heard(formatdate(NOW + theirs, usegmt=True), NOW)
    assert [entry["seconds_ahead"] for entry in logs] == [89, 89]


@pytest.mark.parametrize("date", [None, "", "soon", "Fri, 99 Foo 2026 00:00:00 GMT"])
def test_nonsense_says_nothing(date: str | None) -> None:
    """An answer without a usable Date leaves what was known."""
    skew = ClockSkew("dev", FakeClock())
    skew.heard(date, NOW)
    assert skew.seconds is None
