"""Durations as people write them."""

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.durations import parse_duration
from valetkey.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900), ("1h30m", 5400), ("900s", 900), ("90d", 7776000), ("900", 900), ("0", 0), ("-5m", -300)],
)
def test_what_people_write(text: str, seconds: int) -> None:
    """Protects every documented spelling; zero and less travel on, for the broker answers them."""
    assert parse_duration(text, "--ttl") == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "1.5h", "15 m", "m", "--5m", "15m!", "٣m", "15M", "1e3"])
def test_what_is_no_duration(text: str) -> None:
    """Protects against guesses: anything else is refused with an example."""
    with pytest.raises(InvalidArgumentError, match=r"--ttl: .* is not a duration; expected one such as 15m"):
        parse_duration(text, "--ttl")


@pytest.mark.parametrize("text", [str(2**63), f"{2**63}s", "9" * 39 + "d"])
def test_too_long_for_any_duration(text: str) -> None:
    """Protects against an overflow that would end in a traceback."""
    with pytest.raises(InvalidArgumentError, match="longer than a duration can be"):
        parse_duration(text, "--ttl")


@given(st.text())
def test_any_text_is_a_duration_or_a_clear_error(text: str) -> None:
    """Protects the parser against text nobody thought of."""
    with suppress(InvalidArgumentError):
        assert isinstance(parse_duration(text, "--ttl"), timedelta)


@given(st.integers(0, 999), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_parts_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    """Protects the sum of the parts, each taken once."""
    expected = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s", "--ttl") == expected
