"""What people note down about connectors: what can be one, and that everything else is refused by name."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey_broker.model import InvalidFieldError
from valetkey_broker.model.descriptive_field_rules import (
    check_description,
    check_future,
    check_label_key,
    check_labels,
    check_skew,
)

_NOW = datetime(2027, 1, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("key", "value"),
    [("team", "ml"), ("example.com/team", ""), ("a", "A_b-c.d"), ("A9", "x" * 63), ("x" * 63, "1"), ("a.b/C_d", "0")],
)
def test_labels_of_kubernetes_are_labels_here(key: str, value: str) -> None:
    """Whoever labels their pods so can label their connectors so."""
    assert check_labels({key: value}) == ((key, value),)


@pytest.mark.parametrize(
    "key",
    ["", "-a", "a-", "a b", "a/b/c", "/a", "a/", "Example.com/a", "x" * 64, "ä", "a\n", f"{'a.' * 127}a/b", "a..b/c"],
)
def test_what_is_no_name_of_a_label_is_refused(key: str) -> None:
    """A name that filters, terminals or other tools would take for something else gets nowhere."""
    with pytest.raises(InvalidFieldError, match="is not the name of a label"):
        check_label_key(key)


@pytest.mark.parametrize("value", ["-a", "a_", "a b", "x" * 64, "a\n", "ä", "a=b"])
def test_what_is_no_value_of_a_label_is_refused(value: str) -> None:
    """Nor does such a value."""
    with pytest.raises(InvalidFieldError, match="cannot be the value of team"):
        check_labels({"team": value})


@given(st.text(max_size=70))
def test_whatever_passes_is_printable_ascii(text: str) -> None:
    """Nothing that drives a terminal can be a label, by whatever name."""
    try:
        check_labels({text: text})
    except InvalidFieldError:
        return
    assert text.isascii()
    assert text.isprintable()


def test_bounds() -> None:
    """Nobody fills Vault with labels or a description, and no end lies in the past."""
    assert len(check_labels({f"k{n}": "" for n in range(32)})) == 32
    with pytest.raises(InvalidFieldError, match="33 given"):
        check_labels({f"k{n}": "" for n in range(33)})
    assert check_description("é" * 500)
    for text in ("x" * 501, "two\nlines", "\x1b[31m"):
        with pytest.raises(InvalidFieldError, match="description"):
            check_description(text)
    assert check_future(None, _NOW) is None
    assert check_future(_NOW + timedelta(seconds=1), _NOW)
    with pytest.raises(InvalidFieldError, match="is in the past"):
        check_future(_NOW, _NOW)
    assert (check_skew(None), check_skew(0), check_skew(31_536_000)) == (None, 0, 31_536_000)
    for seconds in (-1, 31_536_001):
        with pytest.raises(InvalidFieldError, match="365 days"):
            check_skew(seconds)
