"""What counts as a caller's trace id: the standard's form and nothing beside it, for it goes into the log."""

import pytest

from valetkey_broker.rpc.trace_context import trace_id_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "value", [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-01-what-comes"]
)
def test_what_is_taken_up(value: str) -> None:
    """Also of versions to come, which may append something."""
    assert trace_id_of((("authorization", "Bearer x"), ("traceparent", value))) == TRACE


@pytest.mark.parametrize(
    "value",
    [
        "",
        TRACE,
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\nforged=line",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 1000}",
        f"00-{TRACE}x-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01".encode(),
    ],
)
def test_what_is_passed_over(value: str | bytes) -> None:
    """A caller that sends nonsense is served all the same, and leaves none of it in the log."""
    assert trace_id_of((("traceparent", value),)) == ""


def test_two_are_none() -> None:
    """Which of them it is, nobody can tell."""
    header = ("traceparent", f"00-{TRACE}-{SPAN}-01")
    assert trace_id_of((header, header)) == ""
